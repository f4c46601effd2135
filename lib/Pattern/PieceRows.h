//===- PieceRows.h - a piece in rows instead of positions -------*- C++ -*-===//
//
// Owns what counting needs of a piece at given sizes: bounds in key rows, and
// the rows of its views.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_PIECEROWS_H
#define MEGACTX_LIB_PATTERN_PIECEROWS_H

#include "FlatExpr.h"
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

/// A set of rows that repeats: those in the runs [begin, end) of one period,
/// sorted.
struct RowSet {
  int64_t period = 1;
  std::vector<std::pair<int64_t, int64_t>> runs = {{0, 1}};
  std::vector<int64_t> before = {0, 1}; ///< rows in the runs before, and in all

  RowSet() = default;
  RowSet(int64_t period, std::vector<std::pair<int64_t, int64_t>> runs);
  /// The set of these rows of one period.
  static RowSet of(int64_t period, std::vector<int64_t> rows);
  int64_t size() const { return before.back(); }
  /// The rows of the set in [0, j), negative for j < 0.
  int64_t rank(int64_t j) const;
  /// The row with this rank, of a set that is not empty.
  int64_t unrank(int64_t rank) const;
};

/// The rows whose positions lie in [begin, end).
std::pair<int64_t, int64_t> rowsBetween(int64_t begin, int64_t end,
                                        int64_t step, int64_t offset,
                                        int64_t count);

/// Whether a head has the piece.
bool isChosenFor(const Piece &piece, int64_t head);

struct PieceRows {
  PieceRows(const Piece &piece, const Rows &rows, int64_t head);

  /// The rows of a class of residues; either set may be empty.
  struct View {
    RowSet queries, keys;
  };
  std::vector<View> views() const;

  /// As `bindLeaves`, for these rows and this head.
  Expr bind(const Expr &e) const;

  /// The bounds as one, of p.
  FlatExpr greatestLo() const;
  FlatExpr leastHi() const;

  const Piece &piece;
  const Rows &rows;
  int64_t head;
  int64_t rowBegin, rowEnd; ///< query rows
  /// Of p, in key rows; 0 and rows.keys are among them.
  std::vector<Expr> lo, hi;
  int64_t queryPeriod, keyPeriod; ///< of the views, rows
};

} // namespace mlir::megactx::pattern

#endif
