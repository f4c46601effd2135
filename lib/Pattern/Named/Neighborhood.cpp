//===- Neighborhood.cpp - the pattern `neighborhood` ----------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

namespace {
/// A grid of tokens in row-major order. Its first axis is as long as there are
/// tokens.
struct Grid {
  Expr query;                 ///< tokens from the grid's first
  std::vector<int64_t> steps; ///< tokens from neighbour to neighbour, by axis
  llvm::ArrayRef<int64_t> radii; ///< by axis

  /// Of the keys that are `shift` tokens from those with the query's
  /// coordinates along the axes before this one: its neighbours along this and
  /// those behind it. Each row of the last axis ends where the next begins, so
  /// that every cut parts all that is before it from all that is behind.
  Formula neighbors(size_t axis, int64_t shift) const {
    int64_t step = steps[axis], radius = radii[axis];
    if (axis + 1 == steps.size())
      return Formula::keysBetween(query + (shift - radius),
                                  query + (shift + radius + 1));
    auto begin = [&](int64_t distance) {
      return Formula::keysBelow(query.floorDiv(step) * step +
                                (shift + distance * step));
    };
    Formula found(false);
    for (int64_t distance = radius; distance >= -radius; --distance) {
      Formula isBefore = begin(distance + 1);
      found = (isBefore && neighbors(axis + 1, shift + distance * step)) ||
              (!isBefore && found);
    }
    return !begin(-radius) && found;
  }
};

struct Neighborhood : NamedPattern {
  llvm::StringRef name() const override { return "neighborhood"; }
  llvm::StringRef description() const override {
    return "tokens from `first` on are a grid in row-major order, `grid` its "
           "sizes along all axes but the first: k within `radii` of p along "
           "each (Neighborhood Attention)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"grid", Argument::Kind::List, 1},
        {"radii", Argument::Kind::List, 0},
        {"first", Argument::Kind::Integer, 0, false},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    llvm::ArrayRef<int64_t> sizes = listOf(arguments, "grid");
    std::vector<int64_t> radii = listOf(arguments, "radii");
    if (radii.size() != sizes.size() + 1) {
      error = "expected 'radii' along one axis more than 'grid' has sizes";
      return std::nullopt;
    }
    std::vector<int64_t> steps(radii.size(), 1);
    for (size_t axis = sizes.size(); axis-- > 0;) {
      if (steps[axis + 1] > kMaxPosition / sizes[axis]) {
        error = "'grid' has too many tokens";
        return std::nullopt;
      }
      steps[axis] = steps[axis + 1] * sizes[axis];
      radii[axis + 1] = std::min(radii[axis + 1], sizes[axis] - 1);
    }
    int64_t rows = 1;
    for (int64_t radius : llvm::ArrayRef(radii).drop_back()) {
      rows *= 2 * std::min(radius, kMaxRows) + 1;
      if (rows > kMaxRows) {
        error =
            "expected 'radii' of at most " + std::to_string(kMaxRows) +
            " rows, the product of 2 radius + 1 along all axes but the last";
        return std::nullopt;
      }
    }
    int64_t first = integerOf(arguments, "first");
    Grid grid{Expr::position() - first, std::move(steps), radii};
    return !Formula::rowsBelow(first) &&
           !Formula::keysBelow(Expr::constant(first)) &&
           grid.neighbors(0, first);
  }

private:
  static constexpr int64_t kMaxRows = 64;
};
} // namespace

const NamedPattern &mlir::megactx::pattern::neighborhoodPattern() {
  static const Neighborhood pattern;
  return pattern;
}
