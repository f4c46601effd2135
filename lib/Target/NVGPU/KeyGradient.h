//===- KeyGradient.h - keys are a warp's rows, queries by tiles -*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_KEYGRADIENT_H
#define MEGACTX_LIB_TARGET_NVGPU_KEYGRADIENT_H

#include "Kernel.h"

namespace mlir::megactx::nvgpu {

/// The kernel of the gradients of keys and values, as emitKernel. A block has
/// key rows that the same queries see, of one key head, and goes over the
/// queries of all heads that read them. Grid: (class x block of rows, key head,
/// batch).
gpu::GPUFuncOp emitKeyGradient(gpu::GPUModuleOp module, StringRef name,
                               const AttentionShape &shape,
                               nvx::ScheduleAttr schedule);

} // namespace mlir::megactx::nvgpu

#endif
