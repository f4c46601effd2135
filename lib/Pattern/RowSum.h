//===- RowSum.h - sums over rows in closed form -----------------*- C++ -*-===//
//
// Owns the sum over query rows of the number of key rows between bounds, with
// a cost that does not grow with the number of rows. Knows no test.
//
//   Where bounds are made of +, *, floordiv, min and max, every row u + T a of
//   one residue u mod T has bounds that are minima and maxima of functions
//   affine in a, for some period T: their sum over a is a sum of a few
//   arithmetic series. Where T is large because of a large divisor, the rows
//   are cut where that quotient changes instead.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_ROWSUM_H
#define MEGACTX_LIB_PATTERN_ROWSUM_H

#include "megactx/Pattern/Piece.h"
#include "megactx/Pattern/Rows.h"

namespace mlir::megactx::pattern {

/// Counts steps and refuses beyond a limit, so that no size hangs.
struct Budget {
  uint64_t steps = 0;
  uint64_t limit = uint64_t(1) << 22;
  bool spend(uint64_t count = 1) { return (steps += count) <= limit; }
  bool spent() const { return steps > limit; }
};

/// A set of key rows that repeats: those in the runs [begin, end) of one
/// period, sorted.
struct KeySet {
  int64_t period = 1;
  std::vector<std::pair<int64_t, int64_t>> runs = {{0, 1}};
  std::vector<int64_t> before = {0, 1}; ///< rows in the runs before, and in all

  KeySet() = default;
  KeySet(int64_t period, std::vector<std::pair<int64_t, int64_t>> runs);
  /// The set of these rows of one period.
  static KeySet of(int64_t period, std::vector<int64_t> rows);
  int64_t size() const { return before.back(); }
  /// The key rows in [0, j), negative for j < 0.
  int64_t rank(int64_t j) const;
};

/// What is summed: for each query row i in [begin, end), the key rows j of
/// keys(i mod queryPeriod) with max(lo) <= j < min(hi). Bounds are expressions
/// of the position of row i.
struct RowSum {
  const Rows &rows;
  std::vector<Expr> lo, hi; ///< in key rows
  int64_t queryPeriod = 1, keyPeriod = 1;
  /// For a row's residue its keys, or null for none.
  llvm::function_ref<const KeySet *(int64_t)> keys;
  Budget &budget;

  /// Nothing where the budget is spent.
  std::optional<int64_t> over(int64_t begin, int64_t end) const;
};

/// A bound on positions as a bound on key rows, with min and max outermost:
/// the first row at or after it.
Expr asKeyRow(const Expr &position, const Rows &rows);

} // namespace mlir::megactx::pattern

#endif
