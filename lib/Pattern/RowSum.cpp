//===- RowSum.cpp - sums over rows in closed form -------------------------===//

#include "RowSum.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <algorithm>

using namespace mlir::megactx::pattern;

namespace {
/// Sum over a in [0, length) of the count where leaf i has the rank
/// start[i] + growth[i] a: between two crossings of leaves it is affine.
Wide sumSeries(const Bounds &bounds, llvm::ArrayRef<Wide> start,
               llvm::ArrayRef<Wide> growth, Wide length) {
  llvm::SmallVector<Wide, 16> cuts = {0, length};
  size_t n = start.size();
  for (size_t i = 0; i < n && length > 1; ++i)
    for (size_t j = 0; j < i; ++j) {
      Wide distance = start[j] - start[i], slope = growth[i] - growth[j];
      if (slope < 0)
        distance = -distance, slope = -slope;
      if (slope == 0 || distance < 0 || distance >= slope * length)
        continue;
      cuts.push_back(distance / slope + 1);
    }
  llvm::sort(cuts);
  llvm::SmallVector<Wide, 8> ranks(n);
  auto countAt = [&](Wide a) {
    for (size_t i = 0; i < n; ++i)
      ranks[i] = start[i] + growth[i] * a;
    return bounds.count(ranks);
  };
  Wide total = 0;
  for (size_t c = 0; c + 1 < cuts.size() && cuts[c] < length; ++c) {
    Wide begin = cuts[c], end = std::min(cuts[c + 1], length);
    if (begin >= end)
      continue;
    Wide first = countAt(begin);
    Wide last = end - begin == 1 ? first : countAt(end - 1);
    total += (first + last) * (end - begin) / 2;
  }
  return total;
}

/// The quotient with the largest divisor, or null.
Expr largestQuotient(llvm::ArrayRef<Expr> leaves) {
  Expr best;
  for (const Expr &leaf : leaves)
    leaf.substitute([&](const Expr &e) {
      if (e.kind() == Expr::Kind::FloorDiv &&
          (!best || best.value() < e.value()))
        best = e;
      return Expr();
    });
  return best;
}

class Summation {
public:
  explicit Summation(const RowSum &sum) : sum(sum) {}

  std::optional<Wide> over(const RowSum &part, int64_t begin, int64_t end) {
    if (begin >= end)
      return 0;
    Bounds bounds(part.lo, part.hi);
    int64_t period =
        bounds.period(sum.rows.queryStep, sum.queryPeriod, sum.keyPeriod);
    if (std::min(period, end - begin) > kDirectRows)
      if (Expr quotient = largestQuotient(bounds.getLeaves()))
        if (runsOf(quotient, begin, end) < std::min(period, end - begin) / 4)
          return split(part, quotient, begin, end);
    return direct(bounds, std::min(period, end - begin), begin, end);
  }

private:
  static constexpr int64_t kDirectRows = 256;

  int64_t valueAt(const Expr &e, int64_t row) const {
    Point point;
    point.p = sum.rows.query(row);
    return evaluate(e, point);
  }

  int64_t runsOf(const Expr &quotient, int64_t begin, int64_t end) const {
    return valueAt(quotient, end - 1) - valueAt(quotient, begin) + 1;
  }

  /// Sums where the quotient stays, by bisection for where it changes.
  std::optional<Wide> split(const RowSum &part, const Expr &quotient,
                            int64_t begin, int64_t end) {
    Wide total = 0;
    for (int64_t row = begin; row < end;) {
      int64_t value = valueAt(quotient, row), below = row, above = end;
      while (above - below > 1) {
        int64_t middle = below + (above - below) / 2;
        (valueAt(quotient, middle) == value ? below : above) = middle;
      }
      RowSum here = part;
      for (auto *bounds : {&here.lo, &here.hi})
        for (Expr &bound : *bounds)
          bound = bound.substitute([&](const Expr &e) {
            return e == quotient ? Expr::constant(value) : Expr();
          });
      auto inner = sum.budget.spend() ? over(here, row, above) : std::nullopt;
      if (!inner)
        return std::nullopt;
      total += *inner;
      row = above;
    }
    return total;
  }

  std::optional<Wide> direct(const Bounds &bounds, int64_t period,
                             int64_t begin, int64_t end) {
    llvm::ArrayRef<Expr> leaves = bounds.getLeaves();
    llvm::SmallVector<Wide, 8> start(leaves.size()), growth(leaves.size());
    Wide total = 0;
    for (int64_t row = begin; row < begin + period; ++row) {
      if (!sum.budget.spend())
        return std::nullopt;
      const RowSet *keys = sum.keys(floorMod(row, sum.queryPeriod));
      if (!keys)
        continue;
      int64_t length = (end - row + period - 1) / period;
      for (size_t i = 0; i < leaves.size(); ++i) {
        start[i] = keys->rank(valueAt(leaves[i], row));
        growth[i] = length == 1 ? Wide(0)
                                : keys->rank(valueAt(leaves[i], row + period)) -
                                      start[i];
      }
      total += sumSeries(bounds, start, growth, length);
    }
    return total;
  }

  const RowSum &sum;
};
} // namespace

std::optional<int64_t> RowSum::over(int64_t begin, int64_t end) const {
  std::optional<Wide> total = Summation(*this).over(*this, begin, end);
  if (!total)
    return std::nullopt;
  return int64_t(*total);
}
