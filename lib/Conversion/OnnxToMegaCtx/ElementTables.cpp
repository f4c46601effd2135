//===- ElementTables.cpp - constant matrices as conditions ----------------===//

#include "ElementValues.h"
#include <numeric>
#include <set>

using namespace mlir;
using namespace mlir::megactx::raise;

/// The diagonals y - x on which all elements are the other value; nothing where
/// a diagonal has both.
static std::optional<std::set<int64_t>>
diagonalsOf(int64_t rows, int64_t columns,
            llvm::function_ref<bool(int64_t, int64_t)> isOther) {
  std::set<int64_t> diagonals;
  for (int64_t d = 1 - rows; d < columns; ++d) {
    int64_t x = std::max<int64_t>(0, -d);
    bool first = isOther(x, x + d);
    for (; x < rows && x + d < columns; ++x)
      if (isOther(x, x + d) != first)
        return std::nullopt;
    if (first)
      diagonals.insert(d);
  }
  return diagonals;
}

/// Diagonals that are equally far apart; those at the table's corners go on.
static std::optional<Condition> bandOf(const std::set<int64_t> &diagonals,
                                       int64_t lowest, int64_t highest,
                                       AffineExpr difference) {
  int64_t first = *diagonals.begin(), last = *diagonals.rbegin(), step = 0;
  for (int64_t d : diagonals)
    step = std::gcd(step, d - first);
  if (step == 0)
    return Condition::zero(difference - first);
  if (int64_t(diagonals.size()) != (last - first) / step + 1)
    return std::nullopt;
  Condition band = Condition::constant(true);
  if (first - step >= lowest)
    band = band && Condition::nonNegative(difference - first);
  if (last + step <= highest)
    band = band && Condition::nonNegative(-difference + last);
  if (step > 1)
    band = band && Condition::zero((difference - first) % step);
  return band;
}

std::optional<Condition> mlir::megactx::raise::conditionOfTable(
    int64_t rows, int64_t columns,
    llvm::function_ref<bool(int64_t, int64_t)> isOther, AffineExpr x,
    AffineExpr y) {
  AffineExpr difference = y - x;
  if (auto diagonals = diagonalsOf(rows, columns, isOther)) {
    if (diagonals->empty())
      return Condition::constant(false);
    if (auto band = bandOf(*diagonals, 1 - rows, columns - 1, difference))
      return band;
    // The same with the two values exchanged.
    std::set<int64_t> rest;
    for (int64_t d = 1 - rows; d < columns; ++d)
      if (!diagonals->count(d))
        rest.insert(d);
    if (rest.empty())
      return Condition::constant(true);
    auto band = bandOf(rest, 1 - rows, columns - 1, difference);
    return band ? std::optional(!*band) : std::nullopt;
  }
  // Blocks along the diagonal, of the length of the first row's run.
  for (bool value : {false, true}) {
    int64_t block = 0;
    while (block < columns && isOther(0, block) == value)
      ++block;
    if (block == 0 || block == columns)
      continue;
    bool isBlocks = true;
    for (int64_t r = 0; isBlocks && r < rows; ++r)
      for (int64_t c = 0; isBlocks && c < columns; ++c)
        isBlocks = (isOther(r, c) == value) == (r / block == c / block);
    if (!isBlocks)
      continue;
    Condition same = Condition::zero(x.floorDiv(block) - y.floorDiv(block));
    return value ? same : !same;
  }
  return std::nullopt;
}
