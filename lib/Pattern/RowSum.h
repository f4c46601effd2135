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

#include "Bounds.h"
#include "PieceRows.h"

namespace mlir::megactx::pattern {

/// What is summed: for each query row i in [begin, end), the key rows j of
/// keys(i mod queryPeriod) with max(lo) <= j < min(hi). Bounds are expressions
/// of the position of row i.
struct RowSum {
  const Rows &rows;
  std::vector<Expr> lo, hi; ///< in key rows
  int64_t queryPeriod = 1, keyPeriod = 1;
  /// For a row's residue its keys, or null for none.
  llvm::function_ref<const RowSet *(int64_t)> keys;
  Budget &budget;

  /// Nothing where the budget is spent.
  std::optional<int64_t> over(int64_t begin, int64_t end) const;
};

} // namespace mlir::megactx::pattern

#endif
