//===- ElementTables.cpp - elements of constants --------------------------===//

#include "ElementValues.h"
#include "Nodes.h"
#include <cmath>
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

/// A band, or all but a band.
static std::optional<Condition>
bandOfTable(int64_t rows, int64_t columns,
            llvm::function_ref<bool(int64_t, int64_t)> isOther,
            AffineExpr difference) {
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
  return std::nullopt;
}

std::optional<Condition> mlir::megactx::raise::conditionOfTable(
    int64_t rows, int64_t columns,
    llvm::function_ref<bool(int64_t, int64_t)> isOther, AffineExpr x,
    AffineExpr y) {
  if (auto band = bandOfTable(rows, columns, isOther, y - x))
    return band;
  // Along the other diagonal.
  auto isMirrored = [&](int64_t r, int64_t c) {
    return isOther(r, columns - 1 - c);
  };
  if (auto band = bandOfTable(rows, columns, isMirrored, columns - 1 - y - x))
    return band;
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

/// The step of numbers that are equally far apart, and not equal.
static std::optional<int64_t> stepOf(const Numbers &numbers, int64_t base,
                                     int64_t count, int64_t stride) {
  constexpr double kMost = 1e15;
  double first = numbers[base].value_or(kMost);
  double step = numbers[base + stride].value_or(kMost) - first;
  if (step == 0 || std::abs(first) >= kMost || std::abs(step) >= kMost)
    return std::nullopt;
  for (int64_t i = 1; i < count; ++i)
    if (numbers[base + i * stride] != first + double(i) * step)
      return std::nullopt;
  return int64_t(step);
}

/// At a constant place the number; else the number that all elements are, or a
/// choice by a condition that holds for the whole table.
ElementValues::Result
ElementValues::constantElement(Value tensor, ElementsAttr elements,
                               ArrayRef<AffineExpr> place) {
  auto type = cast<ShapedType>(elements.getType());
  if (!type.hasRank() || type.getRank() != int64_t(place.size()) ||
      elements.getNumElements() == 0)
    return std::nullopt;
  bool isInteger = isa<IntegerType>(type.getElementType());
  auto numbered = [&](int64_t linear) -> Result {
    auto number = numberAt(elements, linear);
    if (!number)
      return std::nullopt;
    // The largest integers, which stand for an open end, keep their order.
    if (isInteger)
      return Element::integer(
          positions.constant(*number >= 9.0e18 ? INT64_MAX : int64_t(*number)));
    return Element::real(*number);
  };
  if (elements.getNumElements() == 1)
    return numbered(0);
  SmallVector<int64_t> strides(place.size(), 1);
  for (int64_t i = int64_t(place.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * type.getDimSize(i + 1);
  SmallVector<unsigned> moving;
  int64_t base = 0;
  for (auto [i, index] : llvm::enumerate(place)) {
    if (auto constant = dyn_cast<AffineConstantExpr>(index)) {
      if (constant.getValue() < 0 || constant.getValue() >= type.getDimSize(i))
        return std::nullopt;
      base += constant.getValue() * strides[i];
    } else if (type.getDimSize(i) > 1) {
      moving.push_back(i);
    }
  }
  if (moving.empty())
    return numbered(base);
  if (isUniform(elements))
    return numbered(0);
  if (moving.size() > 2)
    return std::nullopt;
  // A single axis is a matrix of one row.
  unsigned y = moving.back(), x = moving.front();
  int64_t columns = type.getDimSize(y);
  int64_t rows = moving.size() == 2 ? type.getDimSize(x) : 1;
  Numbers numbers(elements);
  std::optional<double> one = numbers[base], other;
  if (!one)
    return std::nullopt;
  if (isInteger && moving.size() == 1 && !type.getElementType().isInteger(1))
    if (auto step = stepOf(numbers, base, columns, strides[y]))
      return Element::integer(place[y] * *step + int64_t(*one));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      double n = *numbers[base + r * strides[x] * (rows > 1) + c * strides[y]];
      if (n == *one || (other && n == *other))
        continue;
      if (other)
        return std::nullopt;
      other = n;
    }
  if (!other)
    return numbered(base);
  auto condition = conditionOfTable(
      rows, columns,
      [&](int64_t r, int64_t c) {
        return *numbers[base + r * strides[x] * (rows > 1) + c * strides[y]] ==
               *other;
      },
      moving.size() == 2 ? place[x] : positions.constant(0), place[y]);
  if (!condition)
    return std::nullopt;
  ++numTables;
  return Element::choice(*condition, Element::real(*other),
                         Element::real(*one));
}
