//===- ScoreScale.cpp - factors and caps of scores ------------------------===//

#include "ScoreScale.h"
#include "Nodes.h"
#include "Operands.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

/// Whether a product of queries with a factor that is no known number has the
/// queries' type and is what makes the scores.
static bool canScale(Value query, Value factor, bool hasHeads) {
  auto all = cast<RankedTensorType>(query.getType());
  auto own = dyn_cast<RankedTensorType>(factor.getType());
  if (!own || own.getElementType() != all.getElementType() || own.getRank() > 4)
    return false;
  if (isScalar(factor))
    return true;
  for (auto [size, whole] :
       llvm::zip(llvm::reverse(own.getShape()), llvm::reverse(all.getShape())))
    if (whole == 1 && size != 1)
      return false;
  return hasHeads;
}

std::string mlir::megactx::raise::applyScales(ImplicitLocOpBuilder &b,
                                              Operands &operands,
                                              const Scores &scores,
                                              Value &query, ScoreScale &scale) {
  auto &[factor, cap] = scale;
  if (scores.isCapped) {
    cap = 1.0;
    for (auto [by, divides] : scores.caps) {
      auto number = operands.scalar(by);
      if (!number || *number <= 0)
        return "its scores are capped by " + describe(by) +
               ", which is no positive number";
      cap = divides ? *cap / *number : *cap * *number;
    }
    // tanh(x s) c = c tanh(x (s c) / c).
    factor = *cap;
  }
  for (auto [by, divides] : scores.scales) {
    if (auto number = operands.scalar(by)) {
      factor = divides ? factor / *number : factor * *number;
      continue;
    }
    if (!canScale(query, by, rankOf(scores.product) == 4))
      return "its scores are scaled by " + describe(by) +
             ", which queries cannot be";
    query =
        createNode(b, divides ? "Div" : "Mul", {query, by}, query.getType());
  }
  return "";
}
