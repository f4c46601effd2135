//===- Architecture.h - which GPUs there is code for ------------*- C++ -*-===//

#ifndef MEGACTX_TARGET_NVGPU_ARCHITECTURE_H
#define MEGACTX_TARGET_NVGPU_ARCHITECTURE_H

#include "mlir/Support/LLVM.h"
#include <optional>

namespace mlir::megactx::nvgpu {

/// What a kernel may use of a compute architecture.
struct Machine {
  StringRef arch;       ///< as in sm_80, sm_90a
  int64_t sharedMemory; ///< bytes that one block may have
  StringRef ptx;        ///< LLVM's feature: the PTX version of its code
  /// Of the largest device; only speed depends on it, and the same artifact
  /// gives the same numbers on all.
  int64_t multiprocessors;
  int64_t threads; ///< that a multiprocessor holds
  bool hasWgmma;
};

/// None for an architecture that has no cp.async or is unknown.
/// Source: CUDA C++ Programming Guide 13.0, technical specifications per
/// compute capability; PTX ISA 9.0, release notes; multiprocessors: NVIDIA's
/// architecture whitepapers (A100, GA102, Orin, AD102, H100 SXM, B200, RTX PRO
/// 6000 Blackwell, GB10).
std::optional<Machine> machineOf(StringRef arch);

/// All that machineOf knows, in ascending order.
SmallVector<StringRef> architectures();

/// The architecture that a name which is none was probably to be: one letter
/// or sign away, or written as other tools do. None where nothing is as near.
std::optional<StringRef> nearestArchitecture(StringRef name);

/// The head dims that attention kernels take: multiples of one, up to the
/// other.
constexpr int64_t kHeadDimMultiple = 8, kMaxHeadDim = 256;
/// The greatest that kernels of gradients take, whose sums are in registers.
constexpr int64_t kMaxGradientDim = 128;
/// Rows of queries, keys, values and results start at multiples of this many
/// bytes, which one copy takes.
constexpr int64_t kRowBytes = 16;

} // namespace mlir::megactx::nvgpu

#endif
