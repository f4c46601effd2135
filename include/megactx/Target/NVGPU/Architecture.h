//===- Architecture.h - which GPUs there is code for ------------*- C++ -*-===//

#ifndef MEGACTX_TARGET_NVGPU_ARCHITECTURE_H
#define MEGACTX_TARGET_NVGPU_ARCHITECTURE_H

#include "mlir/Support/LLVM.h"
#include <optional>

namespace mlir::megactx::nvgpu {

/// Bytes of shared memory that one block may have, of a compute architecture
/// as in sm_80, sm_90a; none for one that has no cp.async or is unknown.
/// Source: CUDA C++ Programming Guide 13.0, technical specifications per
/// compute capability.
std::optional<int64_t> sharedMemoryOf(StringRef arch);

} // namespace mlir::megactx::nvgpu

#endif
