//===- Neighborhood.cpp - the pattern `neighborhood` ----------------------===//

#include "Common.h"
#include "megactx/Pattern/Piece.h"

using namespace mlir::megactx::pattern;

namespace {
/// A grid of tokens in row-major order. Its first axis is as long as there are
/// tokens.
struct Grid {
  Expr query;                 ///< tokens from the grid's first
  std::vector<int64_t> steps; ///< tokens from neighbour to neighbour, by axis
  std::vector<int64_t> radii; ///< by axis

  /// Of the keys that are `shift` tokens from those with the query's
  /// coordinates along the axes before this one: its neighbours along this and
  /// those behind it. Each row of the last axis ends where the next begins, so
  /// that every cut parts all that is before it from all that is behind.
  Formula neighbors(size_t axis, int64_t shift) const {
    int64_t step = steps[axis], radius = radii[axis];
    Expr first = query.floorDiv(step) * step + shift;
    if (axis + 1 == steps.size())
      return Formula::keysBetween(first + -radius * step,
                                  first + (radius + 1) * step);
    auto begin = [&](int64_t distance) {
      return Formula::keysBelow(first + distance * step);
    };
    Formula found(false);
    for (int64_t distance = radius; distance >= -radius; --distance) {
      Formula isBefore = begin(distance + 1);
      found = (isBefore && neighbors(axis + 1, shift + distance * step)) ||
              (!isBefore && found);
    }
    return !begin(-radius) && found;
  }

  /// What the last axis says, as residues, where there are few enough: the
  /// others then are intervals of whole rows of it. Leaves that axis out.
  Formula takeColumns(int64_t first) {
    constexpr int64_t kMaxPairs = 1 << 15;
    if (steps.size() < 2 || steps[steps.size() - 2] > kMaxPeriod)
      return Formula(true);
    int64_t width = steps[steps.size() - 2], radius = radii.back();
    if (width * (2 * radius + 1) > kMaxPairs)
      return Formula(true);
    steps.pop_back();
    radii.pop_back();
    if (radius >= width - 1)
      return Formula(true);
    Expr column = query.mod(width), other = (Expr::key() - first).mod(width);
    Expr apart = Expr::max(column - other, other - column);
    return Formula::digit(width, apart.less(Expr::constant(radius + 1)));
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
    int64_t first = integerOf(arguments, "first");
    Grid grid{Expr::position() - first, std::move(steps), std::move(radii)};
    Formula columns = grid.takeColumns(first);
    int64_t rows = 1;
    for (int64_t radius : llvm::ArrayRef(grid.radii).drop_back()) {
      rows *= 2 * std::min(radius, kMaxRows) + 1;
      if (rows > kMaxRows) {
        error = "expected 'radii' of at most " + std::to_string(kMaxRows) +
                " intervals, the product of 2 radius + 1 along all axes but "
                "the last two (but the last, where that is long)";
        return std::nullopt;
      }
    }
    return !Formula::rowsBelow(first) &&
           !Formula::keysBelow(Expr::constant(first)) &&
           grid.neighbors(0, first) && columns;
  }

private:
  static constexpr int64_t kMaxRows = 64;
};
} // namespace

const NamedPattern &mlir::megactx::pattern::neighborhoodPattern() {
  static const Neighborhood pattern;
  return pattern;
}
