//===- MergeParts.h - the kernel that merges parts of keys ------*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_MERGEPARTS_H
#define MEGACTX_LIB_TARGET_NVGPU_MERGEPARTS_H

#include "BlockRows.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace mlir::megactx::nvgpu {

/// How a kernel that merges is launched: a block for each row of the output.
struct MergeLaunch {
  static constexpr int64_t kWarps = 4, kThreads = 32 * kWarps;
  /// Of shared memory.
  static int64_t bytes(const AttentionShape &shape) {
    return kWarps * shape.valueDim * int64_t(sizeof(float));
  }
};

/// Adds a kernel to the module that merges the parts of all rows that a kernel
/// of this shape writes: also with what `out` and `lse` held
/// before where that accumulates. Arguments: query offset; as PartArguments;
/// out, lse. Grid: (row of a class x class, head, batch).
gpu::GPUFuncOp emitMergeKernel(gpu::GPUModuleOp module, StringRef name,
                               const AttentionShape &shape);

} // namespace mlir::megactx::nvgpu

#endif
