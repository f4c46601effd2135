//===- Sizes.cpp - what is known of tensors' sizes ------------------------===//

#include "megactx/Dialect/MegaCtx/IR/Sizes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;

/// Choices are not followed: for each, upstream compares its sides by what
/// feeds them, which takes exponential time where one choice feeds the next, as
/// in the shapes that exporters compute.
static bool isChoice(Value value, std::optional<int64_t>,
                     ValueBoundsConstraintSet &) {
  return value.getDefiningOp<arith::SelectOp>() != nullptr;
}

namespace {
struct SizeSet : ValueBoundsConstraintSet {
  SizeSet(MLIRContext *context, const StopConditionFn &stop)
      : ValueBoundsConstraintSet(context, stop) {}

  /// Walks up until what is known is enough.
  static bool areEqual(const Variable &a, const Variable &b) {
    int64_t first = -1, second = -1;
    SizeSet set(a.getContext(), [&](Value value, std::optional<int64_t> dim,
                                    ValueBoundsConstraintSet &all) {
      if (isChoice(value, dim, all))
        return true;
      return first >= 0 && second >= 0 &&
             static_cast<SizeSet &>(all).comparePos(first, EQ, second);
    });
    // As dims, which keep their places: symbols move when loops' bounds add
    // dims before them, and other columns would be compared.
    first = set.insert(a, /*isSymbol=*/false);
    second = set.insert(b, /*isSymbol=*/false);
    set.processWorklist();
    return set.comparePos(first, EQ, second);
  }
};
} // namespace

bool mlir::megactx::areEqualSizes(const SizeVariable &a,
                                  const SizeVariable &b) {
  return SizeSet::areEqual(a, b);
}

std::optional<int64_t> mlir::megactx::constantSize(const SizeVariable &size) {
  FailureOr<int64_t> bound = ValueBoundsConstraintSet::computeConstantBound(
      presburger::BoundType::EQ, size, isChoice);
  return succeeded(bound) ? std::optional(*bound) : std::nullopt;
}
