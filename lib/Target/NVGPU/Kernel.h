//===- Kernel.h - one attention kernel, sm_80 schedule ----------*- C++ -*-===//
//
// Owns the form of the kernels: each warp of a block holds 16 query rows. Tiles
// of keys and values go through stages of shared memory, rows padded by 16
// bytes so that no two of eight rows in turn meet in a bank. Scores and sums
// stay in registers, a vector<2x2xf32> per 16x8 tile: [row half][column].
//
// The skeleton (Kernel.cpp) walks tiles; what a warp computes with one is the
// fragments' (Fragments.h), and what beside q and k a score depends on is the
// score elements' (ScoreElements.h).
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_KERNEL_H
#define MEGACTX_LIB_TARGET_NVGPU_KERNEL_H

#include "../Common/AttentionShape.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include <cmath>

namespace mlir::megactx::nvgpu {

constexpr int64_t kThreads = 128, kRows = 64;
/// The score of a masked key: finite, so that no difference of two is NaN.
constexpr float kMasked = -1.0e30f;

/// Tile sizes and places in shared memory, in elements and bytes.
struct Tiling {
  explicit Tiling(const AttentionShape &shape)
      : elementBytes(shape.element.getIntOrFloatBitWidth() / 8),
        paddedHead(llvm::alignTo(shape.headDim, 16)),
        paddedValue(llvm::alignTo(shape.valueDim, 16)) {
    bool large = std::max(paddedHead, paddedValue) > 128;
    keys = (large ? 64 : 128) / elementBytes;
  }
  int64_t elementBytes, paddedHead, paddedValue, keys;
  /// Elements of a copy of 16 bytes.
  int64_t chunk() const { return 16 / elementBytes; }
  int64_t keyPitch() const { return paddedHead + chunk(); }
  int64_t valuePitch() const { return paddedValue + chunk(); }
  int64_t queryBytes() const { return kRows * keyPitch() * elementBytes; }
  int64_t keyBytes() const { return 2 * keys * keyPitch() * elementBytes; }
  int64_t valueBytes() const { return 2 * keys * valuePitch() * elementBytes; }
  int64_t bytes() const { return queryBytes() + keyBytes() + valueBytes(); }
  /// Above this, query fragments are read again for every tile.
  bool queriesInRegisters() const { return paddedHead <= 128; }
};

/// Whether scores are scaled before the softmax, and not within it: what is
/// added or bent needs their true values, and maxima a positive factor.
inline bool scalesScores(const AttentionShape &shape) {
  return shape.softcap || shape.hasBias || !(shape.scale > 0);
}
/// What scores are still to be multiplied by.
inline float factorOf(const AttentionShape &shape) {
  return scalesScores(shape) ? 1.0f : shape.scale;
}

/// Residues that see no key get their rows written too, where nobody else did.
inline bool coversAll(const AttentionShape &shape) { return !shape.accumulate; }

/// Adds the kernel to the module; arguments as kernelArguments.
gpu::GPUFuncOp emitKernel(gpu::GPUModuleOp module, StringRef name,
                          const AttentionShape &shape);

} // namespace mlir::megactx::nvgpu

#endif
