//===- Magnitudes.cpp - how large numbers are -----------------------------===//

#include "Magnitudes.h"
#include "Nodes.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace mlir::megactx::raise;

static constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// Operators whose results are elements of their first operand.
static bool movesFirst(StringRef type) {
  static const llvm::StringSet<> names = {
      "Expand",   "Flatten",  "Gather",    "GatherElements",
      "GatherND", "Identity", "Reshape",   "Slice",
      "Squeeze",  "Tile",     "Transpose", "Unsqueeze"};
  return names.contains(type);
}

static double magnitudeOf(Value tensor) {
  // Longer ways are none of moves alone.
  for (unsigned nodes = 0; nodes < 64; ++nodes) {
    if (ElementsAttr elements = constantOf(tensor)) {
      double most = 0;
      Numbers numbers(elements);
      for (int64_t i = 0, n = elements.getNumElements(); i < n; ++i) {
        double number = std::abs(numbers[i].value_or(kInfinite));
        most = number <= most ? most : number;
      }
      return most <= kInfinite ? most : kInfinite;
    }
    Operation *op = tensor.getDefiningOp();
    if (!op || !movesFirst(typeOf(op)))
      return kInfinite;
    tensor = op->getOperand(0);
  }
  return kInfinite;
}

double mlir::megactx::raise::magnitudeOf(const Element &element) {
  if (auto number = element.number())
    return std::abs(*number);
  switch (element.kind()) {
  case Element::Kind::Choice:
    return std::max(magnitudeOf(element.first()),
                    magnitudeOf(element.second()));
  case Element::Kind::Truth:
    return 1;
  case Element::Kind::Read:
    return ::magnitudeOf(element.tensor());
  default:
    return kInfinite;
  }
}

bool mlir::megactx::raise::swallows(double number, double magnitude,
                                    const llvm::fltSemantics &type) {
  int digits = llvm::APFloat::semanticsPrecision(type);
  // Below a power of two numbers are closer.
  return number != 0 &&
         magnitude < std::ldexp(0.25, std::ilogb(number) - digits + 1);
}
