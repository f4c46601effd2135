//===- FloatScores.cpp - scores that are not rounded on the way -----------===//
//
// Owns the pass --megactx-float-scores: around each Softmax that is of a
// product and multiplies values, what QuantizeLinear and DequantizeLinear round
// between the products is left as it is.
//
//===----------------------------------------------------------------------===//

#include "Nodes.h"
#include "megactx/Conversion/Passes.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSwitch.h"

namespace mlir::megactx {
using namespace raise;

#define GEN_PASS_DEF_FLOATSCORESPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// The DequantizeLinear nodes between a Softmax and the products around it.
class Roundings {
public:
  /// Whether scores are the result of a product.
  bool findBefore(Value scores);
  /// Whether probabilities are an operand of a product.
  bool findAfter(Value probabilities);

  llvm::SetVector<Operation *> found;

private:
  DenseSet<Value> seen;
};
} // namespace

static bool isProduct(Operation *op) {
  return typeOf(op) == "MatMul" || typeOf(op) == "Einsum";
}

/// Scales, masks, and what moves their elements.
static bool isOnTheWay(Operation *op) {
  return llvm::StringSwitch<bool>(typeOf(op))
      .Cases({"Add", "Sub", "Mul", "Div", "Where", "Max", "Min"}, true)
      .Cases({"Tanh", "Clip", "Cast", "Identity", "Dropout"}, true)
      .Cases({"Reshape", "Expand", "Squeeze", "Unsqueeze"}, true)
      .Default(false);
}

/// What a DequantizeLinear has back but for its rounding: it widens with the
/// scale and zero point by which it has been made narrow. Null for others.
static Value beforeRounding(Operation *widened) {
  Operation *narrow = typeOf(widened) == "DequantizeLinear"
                          ? widened->getOperand(0).getDefiningOp()
                          : nullptr;
  if (!narrow || typeOf(narrow) != "QuantizeLinear" ||
      narrow->getNumOperands() != widened->getNumOperands() ||
      narrow->getOperands().drop_front() !=
          widened->getOperands().drop_front() ||
      narrow->getAttr("axis") != widened->getAttr("axis") ||
      narrow->getAttr("block_size") != widened->getAttr("block_size"))
    return {};
  Value before = narrow->getOperand(0);
  return getElementTypeOrSelf(before.getType()) ==
                 getElementTypeOrSelf(widened->getResult(0).getType())
             ? before
             : Value();
}

bool Roundings::findBefore(Value scores) {
  Operation *op = scores.getDefiningOp();
  if (!op || !seen.insert(scores).second)
    return false;
  if (isProduct(op))
    return true;
  if (Value before = beforeRounding(op)) {
    found.insert(op);
    return findBefore(before);
  }
  bool isOfProduct = false;
  if (isOnTheWay(op))
    for (Value operand : op->getOperands())
      isOfProduct |= findBefore(operand);
  return isOfProduct;
}

bool Roundings::findAfter(Value probabilities) {
  bool multiplies = false;
  for (Operation *user : probabilities.getUsers()) {
    if (isProduct(user)) {
      multiplies = true;
    } else if (isOnTheWay(user)) {
      if (seen.insert(user->getResult(0)).second)
        multiplies |= findAfter(user->getResult(0));
    } else if (typeOf(user) == "QuantizeLinear") {
      for (Operation *widened : user->getResult(0).getUsers())
        if (beforeRounding(widened) == probabilities && found.insert(widened))
          multiplies |= findAfter(widened->getResult(0));
    }
  }
  return multiplies;
}

namespace {
struct FloatScores : impl::FloatScoresPassBase<FloatScores> {
  void runOnOperation() override {
    llvm::SetVector<Operation *> widened;
    getOperation()->walk([&](Operation *op) {
      if (typeOf(op) != "Softmax")
        return;
      Roundings roundings;
      if (roundings.findBefore(op->getOperand(0)) &&
          roundings.findAfter(op->getResult(0)))
        widened.insert_range(roundings.found);
    });
    for (Operation *op : widened) {
      Operation *narrow = op->getOperand(0).getDefiningOp();
      op->getResult(0).replaceAllUsesWith(narrow->getOperand(0));
      op->erase();
      if (narrow->use_empty())
        narrow->erase();
      ++numLeftOut;
    }
    if (widened.empty())
      getOperation().emitWarning(
          "no scores or probabilities of attention are rounded: float-scores "
          "changes nothing");
  }
};
} // namespace
} // namespace mlir::megactx
