//===- TestRuns.h - the keys for which a test holds -------------*- C++ -*-===//

#ifndef MEGACTX_LIB_PATTERN_TESTRUNS_H
#define MEGACTX_LIB_PATTERN_TESTRUNS_H

#include "KeyRuns.h"
#include "PieceRows.h"

namespace mlir::megactx::pattern {

/// A test along the rows and keys of a piece, without a look at each pair: rows
/// for which it is the same, and the intervals of key rows on which it holds.
class TestRuns {
public:
  /// `test`: with leaves as PieceRows::bind leaves them.
  TestRuns(const PieceRows &piece, const Expr &test, Budget &budget);

  /// The first row from which on the test may be another than in this one; no
  /// more than the piece's last. All terms of rows alone are the same before.
  int64_t endOfAlike(int64_t row);
  /// Key rows in [first, last) for which it holds in the row.
  using Runs = std::vector<std::pair<int64_t, int64_t>>;
  Runs at(int64_t row, int64_t first, int64_t last);

private:
  void addTerms(const Expr &e, std::vector<Expr> &known);

  const PieceRows &piece;
  Budget &budget;
  std::vector<Walk> terms; ///< along the rows: the largest of rows alone
  Walk keys;
};

} // namespace mlir::megactx::pattern

#endif
