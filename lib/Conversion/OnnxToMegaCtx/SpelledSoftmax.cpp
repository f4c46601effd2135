//===- SpelledSoftmax.cpp - softmaxes that are written as their parts -----===//
//
// Owns how exp(x) / sum(exp(x)) along the last axis becomes a Softmax, as
// exports of JAX and of code of one's own have it.
//
//===----------------------------------------------------------------------===//

#include "Nodes.h"
#include "RaiseAttention.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

/// Whether a reduction is along the last axis.
static bool reducesRows(Operation *op) {
  int64_t last = rankOf(op->getOperand(0)) - 1;
  if (!hasOperand(op, 1) || last < 0)
    return false;
  auto axes = constantIntegers(op->getOperand(1));
  return axes && axes->size() == 1 && ((*axes)[0] == -1 || (*axes)[0] == last);
}

Operation *mlir::megactx::raise::reductionOfRows(Value value, StringRef type,
                                                 Value rows) {
  bool isOnePerRow = false;
  int64_t rank = rankOf(rows);
  for (Operation *op = value.getDefiningOp(); op;
       op = op->getOperand(0).getDefiningOp()) {
    auto sizes = dyn_cast<RankedTensorType>(op->getResult(0).getType());
    isOnePerRow |= sizes && sizes.getRank() == rank && rank > 0 &&
                   sizes.getShape().back() == 1;
    if (typeOf(op) == type)
      return isOnePerRow && op->getOperand(0) == rows && reducesRows(op)
                 ? op
                 : nullptr;
    if (!llvm::is_contained({"Expand", "Identity", "Reshape", "Unsqueeze"},
                            typeOf(op)))
      break;
  }
  return nullptr;
}

void mlir::megactx::raise::joinSoftmax(Operation *quotient) {
  Value weights = quotient->getOperand(0);
  if (typeOf(weights) != "Exp" ||
      weights.getType() != quotient->getResult(0).getType() ||
      !reductionOfRows(quotient->getOperand(1), "ReduceSum", weights))
    return;
  ImplicitLocOpBuilder b(quotient->getLoc(), quotient);
  Value softmax = createNode(
      b, "Softmax", weights.getDefiningOp()->getOperand(0), weights.getType(),
      {b.getNamedAttr("axis", b.getI64IntegerAttr(-1))});
  quotient->getResult(0).replaceAllUsesWith(softmax);
  quotient->erase();
}
