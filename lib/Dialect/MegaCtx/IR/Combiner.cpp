//===- Combiner.cpp - partial results of reductions -----------------------===//

#include "megactx/Dialect/MegaCtx/IR/Combiner.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;

Value Combiner::operator()(ImplicitLocOpBuilder &b, Value x, Value y) const {
  OperationState state(b.getLoc(), op->getName(), ValueRange{x, y}, x.getType(),
                       op->getAttrs());
  return b.create(state)->getResult(0);
}

std::optional<SmallVector<Combiner>>
mlir::megactx::combinersOf(linalg::GenericOp op) {
  SmallVector<Combiner> combiners;
  SmallVector<BlockArgument> outputs(op.getRegionOutputArgs());
  for (unsigned i = 0; i < outputs.size(); ++i) {
    SmallVector<Operation *> ops;
    if (!matchReduction(outputs, i, ops) || ops.size() != 1)
      return std::nullopt;
    Operation *combine = ops.front();
    std::optional<TypedAttr> neutral = arith::getNeutralElement(combine);
    if (!neutral || combine->getNumOperands() != 2 ||
        !combine->getResult(0).getType().isIntOrFloat())
      return std::nullopt;
    combiners.push_back({combine, *neutral});
  }
  return combiners;
}
