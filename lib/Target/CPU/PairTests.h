//===- PairTests.h - what a piece's test says of pairs ----------*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_CPU_PAIRTESTS_H
#define MEGACTX_LIB_TARGET_CPU_PAIRTESTS_H

#include "../Common/KeyViews.h"

namespace mlir::megactx::cpu {

/// Asks a piece's test for pairs of a query and a key, of which one stands in a
/// lane and the other comes row by row: once for each block of positions for
/// which its value is the same.
struct PairTests {
  ImplicitLocOpBuilder &b;
  const pattern::Expr &test;
  const KeyViews &views;
  bool lanesAreQueries;
  Value ofLane;  ///< [lanes] index: the row in memory of each lane
  Value ofRow;   ///< [rows] index: of those that come row by row
  Value allowed; ///< [rows][lanes] i32: what the test says
  int64_t width; ///< lanes of a vector

  /// Fills `allowed` for a row and so many vectors from a lane on. `first`: the
  /// first row that these lanes are asked for.
  void fill(Value row, Value first, Value lane, int64_t vectors) const;

private:
  Value positionOf(Value number, bool isQuery) const;
  void ask(Value row, Value lane, Value end) const;
};

} // namespace mlir::megactx::cpu

#endif
