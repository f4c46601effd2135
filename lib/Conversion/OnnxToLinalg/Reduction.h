//===- Reduction.h - reductions that others are made of ---------*- C++ -*-===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_REDUCTION_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_REDUCTION_H

#include "Lowering.h"

namespace mlir::megactx {

enum class Reduce { Sum, Mean, Max, Min, SumSquare, Prod };

/// Reduces the axes to size 1. Narrow floats are summed in f32, which is the
/// result's type.
Tensor reduce(Node &node, Tensor &data, const SmallVector<bool> &axes,
              Reduce kind);

} // namespace mlir::megactx

#endif
