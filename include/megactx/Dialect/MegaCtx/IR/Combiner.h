//===- Combiner.h - partial results of reductions ---------------*- C++ -*-===//

#ifndef MEGACTX_DIALECT_MEGACTX_IR_COMBINER_H
#define MEGACTX_DIALECT_MEGACTX_IR_COMBINER_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {

/// One reduced output: `op` combines two partial results, `neutral` changes
/// none.
struct Combiner {
  Operation *op;
  TypedAttr neutral;
  /// Emits the combination, also of vectors of partial results.
  Value operator()(ImplicitLocOpBuilder &b, Value x, Value y) const;
};

/// What combines partial results of each output; none where one of them is not
/// known to be combined by a single op.
std::optional<SmallVector<Combiner>> combinersOf(linalg::GenericOp op);

} // namespace mlir::megactx

#endif
