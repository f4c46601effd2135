//===- ComputedWeights.h - what is computed when compiling ------*- C++ -*-===//

#ifndef MEGACTX_LIB_PIPELINES_COMPUTEDWEIGHTS_H
#define MEGACTX_LIB_PIPELINES_COMPUTEDWEIGHTS_H

#include "mlir/IR/BuiltinOps.h"

namespace mlir::megactx {

/// Compiles and runs what OutlineComputedWeightsPass made a function of, if
/// anything, on this process's CPU; constants take the place of its call.
LogicalResult computeWeights(ModuleOp module);

} // namespace mlir::megactx

#endif
