//===- Kernel.h - one attention kernel --------------------------*- C++ -*-===//
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

#include "Tiling.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include <cmath>

namespace mlir::megactx::nvgpu {

/// Whether scores are scaled before the softmax, and not within it: what is
/// added or bent needs their true values, and maxima a positive factor, with
/// which minus infinity stays that.
inline bool scalesScores(const AttentionShape &shape) {
  return shape.softcap || !shape.biasPerKey.empty() || !(shape.scale > 1e-20f);
}
/// What scores are still to be multiplied by.
inline float factorOf(const AttentionShape &shape) {
  return scalesScores(shape) ? 1.0f : shape.scale;
}

/// A kernel without a body, of blocks as the tiling has them; builds in it from
/// then on.
gpu::GPUFuncOp createKernel(ImplicitLocOpBuilder &b, StringRef name,
                            TypeRange arguments, const Tiling &tiling,
                            nvx::ScheduleAttr schedule);

/// An index below 2^31 that lanes of a warp have alike, so that ptxas knows.
Value indexOfWarp(ImplicitLocOpBuilder &b, Value index);

/// Adds the kernel to the module; arguments as kernelArguments. The schedule is
/// one that verifySchedule accepts.
gpu::GPUFuncOp emitKernel(gpu::GPUModuleOp module, StringRef name,
                          const AttentionShape &shape,
                          nvx::ScheduleAttr schedule);

} // namespace mlir::megactx::nvgpu

#endif
