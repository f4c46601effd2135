//===- Scores.cpp - what a Softmax is taken of ----------------------------===//

#include "Scores.h"
#include "Nodes.h"
#include "Operands.h"
#include "RaiseAttention.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx::raise;

/// How many nodes there may be between a Softmax and its product.
static constexpr int kMaxNodes = 12;

/// The depth of reasons that stay when the product was found: they are told
/// before those of nodes on the way.
static constexpr int kAtProduct = kMaxNodes + 1;

namespace {
class ScoreMatcher {
public:
  ScoreMatcher(Operands &operands) : operands(operands) {}

  bool match(Value value, Scores &scores, int depth);

  std::string blocker; ///< why no product of queries and keys was reached

private:
  bool matchProduct(Operation *op, Scores &scores);
  bool matchAdd(Operation *op, Scores &scores, int depth);
  bool matchSub(Operation *op, Scores &scores, int depth);
  bool matchWhere(Operation *op, Scores &scores, int depth);
  bool matchScale(Operation *op, Scores &scores, int depth);
  bool matchTanh(Operation *op, Scores &scores, int depth);
  bool matchFloor(Operation *op, Scores &scores, int depth);
  bool mayHaveSizesOf(Value operand, Value result);
  /// False; of all reasons the one farthest from the Softmax is told.
  bool fail(int depth, const Twine &reason);

  Operands &operands;
  int blockerDepth = -1;
};
} // namespace

static bool isLastSizeOne(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() > 0 && type.getShape().back() == 1;
}

/// Before copies and the greatest score of a row, which all are less: a softmax
/// is of differences.
static Value withoutShift(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    bool isShift =
        typeOf(op) == "Sub" &&
        (reductionOfRows(op->getOperand(1), "ReduceMax", op->getOperand(0)) ||
         (typeOf(op->getOperand(1)) == "ReduceMax" &&
          op->getOperand(1).getDefiningOp()->getOperand(0) ==
              op->getOperand(0) &&
          isLastSizeOne(op->getOperand(1))));
    if (!isShift && !isCopy(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// Scores with a sink before or after them.
static bool matchSink(Operation *concat, ScoreMatcher &matcher,
                      Scores &scores) {
  int64_t rank = rankOf(concat->getResult(0));
  int64_t axis = integerAttr(concat, "axis", 0);
  if (concat->getNumOperands() != 2 || rank < 1 ||
      (axis != -1 && axis != rank - 1))
    return false;
  for (unsigned i : {0, 1}) {
    Scores inner;
    if (!matcher.match(concat->getOperand(i), inner, 1))
      continue;
    scores = inner;
    scores.sink = concat->getOperand(1 - i);
    scores.isSinkFirst = i == 1;
    return true;
  }
  return false;
}

std::string mlir::megactx::raise::matchScores(Value value, Operands &operands,
                                              Scores &scores) {
  ScoreMatcher matcher(operands);
  value = withoutShift(value);
  if (typeOf(value) == "Concat" &&
      matchSink(value.getDefiningOp(), matcher, scores))
    return "";
  if (matcher.match(value, scores, 0))
    return "";
  if (isOfWeights(value))
    return "its scores are computed of weights alone";
  return "no product of queries and keys feeds it: " + matcher.blocker;
}

std::string mlir::megactx::raise::describeProjection(Value value) {
  return describe(value) + " is a projection of one tensor: pairs of a query "
                           "and a key have no scores, as in linear attention";
}

bool mlir::megactx::raise::isCopy(Operation *op) {
  StringRef type = typeOf(op);
  if (type == "Identity" || type == "Dropout")
    return true;
  return type == "Cast" &&
         isa<FloatType>(getElementTypeOrSelf(op->getOperand(0).getType())) &&
         isa<FloatType>(getElementTypeOrSelf(op->getResult(0).getType()));
}

bool ScoreMatcher::fail(int depth, const Twine &reason) {
  if (depth > blockerDepth) {
    blockerDepth = depth;
    blocker = reason.str();
  }
  return false;
}

bool ScoreMatcher::matchProduct(Operation *op, Scores &scores) {
  scores.product = op->getResult(0);
  scores.query = op->getOperand(0);
  scores.key = op->getOperand(1);
  return rankOf(op->getResult(0)) >= 3 && rankOf(scores.query) >= 2 &&
         rankOf(scores.key) >= 2;
}

/// Whether an operand with another tensor's sizes need not be broadcast: sizes
/// that are not known may be equal. A size that the result's type does not say
/// may be 1 by what it is computed of, as that of a mask for a batch of one.
bool ScoreMatcher::mayHaveSizesOf(Value operand, Value result) {
  auto own = dyn_cast<RankedTensorType>(operand.getType());
  auto all = dyn_cast<RankedTensorType>(result.getType());
  if (!own || !all)
    return true;
  if (own.getRank() != all.getRank())
    return false;
  for (int64_t dim = 0; dim < own.getRank(); ++dim)
    if (own.getDimSize(dim) == 1 && !operands.isOne(result, dim))
      return false;
  return true;
}

bool ScoreMatcher::matchAdd(Operation *op, Scores &scores, int depth) {
  for (unsigned i : {0, 1}) {
    Scores inner;
    if (!mayHaveSizesOf(op->getOperand(i), op->getResult(0)) ||
        !match(op->getOperand(i), inner, depth))
      continue;
    inner.terms.push_back(
        {op->getOperand(1 - i), Value(), false, op, inner.reshapes});
    scores = inner;
    return true;
  }
  return fail(depth, describe(op->getResult(0)) + " adds no scores");
}

/// Scores less a term, XLNet's form of a mask.
bool ScoreMatcher::matchSub(Operation *op, Scores &scores, int depth) {
  Value less = op->getOperand(0);
  if (!mayHaveSizesOf(less, op->getResult(0)))
    return fail(depth,
                describe(op->getResult(0)) + " subtracts from no scores");
  if (!match(less, scores, depth))
    return false;
  scores.terms.push_back({op->getOperand(1),
                          Value(),
                          false,
                          op,
                          scores.reshapes,
                          {{"Neg", Value()}}});
  return true;
}

bool ScoreMatcher::matchWhere(Operation *op, Scores &scores, int depth) {
  for (unsigned i : {1, 2}) {
    Value fill = op->getOperand(3 - i);
    if (!isScalar(fill) ||
        !mayHaveSizesOf(op->getOperand(i), op->getResult(0)) ||
        !match(op->getOperand(i), scores, depth))
      continue;
    // Others would have to be kept from the scores, and the terms below.
    auto number = constantNumber(fill);
    if (!number || *number > kMasked)
      return fail(depth, describe(op->getResult(0)) +
                             " replaces scores with a mask by a number that "
                             "does not mask");
    scores.terms.push_back(
        {op->getOperand(0), fill, i == 2, op, scores.reshapes});
    return true;
  }
  return fail(depth, describe(op->getResult(0)) +
                         " chooses between other things than scores and a "
                         "number");
}

/// A factor of one number per row of queries at most.
static bool isPerRow(Value factor, Value scores) {
  return isLastSizeOne(factor) && rankOf(factor) <= rankOf(scores);
}

bool ScoreMatcher::matchScale(Operation *op, Scores &scores, int depth) {
  bool divides = typeOf(op) == "Div";
  auto isScale = [&](Value factor) {
    return isScalar(factor) || isPerRow(factor, op->getResult(0));
  };
  unsigned i = isScale(op->getOperand(1)) ? 1 : 0;
  Value factor = op->getOperand(i), scaled = op->getOperand(1 - i);
  if (!isScale(factor) || (divides && i == 0))
    return fail(depth,
                describe(op->getResult(0)) + " scales by more than one number");
  if (!mayHaveSizesOf(scaled, op->getResult(0)) ||
      !match(scaled, scores, depth))
    return false;
  if (!isScalar(factor) &&
      (scores.isCapped || !scores.reshapes.empty() || !scores.terms.empty()))
    return fail(kAtProduct,
                describe(op->getResult(0)) +
                    " scales capped, reshaped or masked scores by more "
                    "than one number");
  // A scale above a mask scales the mask too.
  for (Term &term : scores.terms)
    term.changes.push_back({typeOf(op), factor});
  (scores.isCapped ? scores.caps : scores.scales).push_back({factor, divides});
  return true;
}

bool ScoreMatcher::matchTanh(Operation *op, Scores &scores, int depth) {
  if (!match(op->getOperand(0), scores, depth))
    return false;
  if (scores.isCapped || !scores.terms.empty())
    return fail(kAtProduct, describe(op->getResult(0)) + " caps a mask too");
  return scores.isCapped = true;
}

/// Whether scores do not change a number when they are added to it: its type
/// has no digits for them.
static bool swallowsScores(double number, Type type) {
  auto element = dyn_cast<FloatType>(getElementTypeOrSelf(type));
  return element &&
         std::ldexp(number, -int(element.getFPMantissaWidth())) < -16;
}

/// Scores that are kept from falling below a number that masks are the same
/// scores. Masks are kept from it too: a row that they mask altogether has one
/// number, and thus equal weights.
bool ScoreMatcher::matchFloor(Operation *op, Scores &scores, int depth) {
  for (unsigned i = 0; i < 2 && op->getNumOperands() == 2; ++i) {
    Value floor = op->getOperand(1 - i);
    auto number = constantNumber(floor);
    if (!number || *number > kMasked ||
        !mayHaveSizesOf(op->getOperand(i), op->getResult(0)))
      continue;
    if (!match(op->getOperand(i), scores, depth))
      return false;
    if (std::isinf(*number))
      return true;
    for (Term &term : scores.terms) {
      // max(score + mask, floor) is no sum where both are of one order.
      if (!term.fill && !swallowsScores(*number, floor.getType()))
        return fail(13, describe(op->getResult(0)) +
                            " keeps masked scores above a number that scores "
                            "change");
      term.changes.push_back({"Max", floor});
    }
    return true;
  }
  return fail(depth, describe(op->getResult(0)) +
                         " is no maximum of scores and a number that masks");
}

bool ScoreMatcher::match(Value value, Scores &scores, int depth) {
  Operation *op = value.getDefiningOp();
  StringRef type = typeOf(op);
  if (!op)
    return fail(depth, "it comes from " + describe(value));
  if (depth > kMaxNodes)
    return fail(depth, "more than " + Twine(kMaxNodes) + " nodes follow " +
                           describe(value));
  if (type == "MatMul")
    return matchProduct(op, scores) ||
           fail(depth,
                describe(value) +
                    " is no product of queries and keys of rank 3 or more");
  if (isCopy(op))
    return match(op->getOperand(0), scores, depth + 1);
  if (type == "Reshape") {
    if (rankOf(op->getOperand(0)) < 1 || rankOf(value) < 1)
      return fail(depth, describe(value) + " has an unknown rank");
    if (!match(op->getOperand(0), scores, depth + 1))
      return false;
    scores.reshapes.push_back(op);
    return true;
  }
  if (type == "Add")
    return matchAdd(op, scores, depth + 1);
  if (type == "Sub")
    return matchSub(op, scores, depth + 1);
  if (type == "Where")
    return matchWhere(op, scores, depth + 1);
  if (type == "Mul" || type == "Div")
    return matchScale(op, scores, depth + 1);
  if (type == "Tanh")
    return matchTanh(op, scores, depth + 1);
  if (type == "Max")
    return matchFloor(op, scores, depth + 1);
  if (type == "DequantizeLinear")
    return fail(depth, describe(value) +
                           " is rounded, which --float-scores leaves out");
  if (Value whole = operands.movedWhole(value))
    return match(whole, scores, depth + 1);
  if (isProjection(value) && !isOfWeights(value))
    return fail(depth, describeProjection(value));
  return fail(depth, describe(value) + " is neither mask nor scale");
}
