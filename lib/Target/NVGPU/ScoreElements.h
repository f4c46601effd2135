//===- ScoreElements.h - what else a score depends on -----------*- C++ -*-===//
//
// Owns what happens to scores between the product of queries and keys and the
// softmax, element by element: scale and softcap, bias, the piece's test, and
// the bounds of rows.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_SCOREELEMENTS_H
#define MEGACTX_LIB_TARGET_NVGPU_SCOREELEMENTS_H

#include "../Common/KeyViews.h"
#include "Kernel.h"
#include "TileLoader.h"
#include <functional>

namespace mlir::megactx::nvgpu {

/// The part of a piece that a warp is at: a tile's columns start at `from` in
/// the numbers of their view.
struct TilePlace {
  unsigned piece;
  Value from;
  /// The row in memory of a number; of one that is past the ends, any.
  std::function<Value(Value number)> rowOf;
};

/// The score, scaled and capped, of a product of queries and keys.
Value cappedScore(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                  Value product);

/// The index of a pair's batch, head, query or key in a dim of a bias, or of
/// its gradient: one of size one is broadcast.
Value indexInBias(ImplicitLocOpBuilder &b, Value bias, int64_t dim, Value at);

class ScoreElements {
public:
  /// `rows`: the lane's two rows, of query heads. Either rows are queries and
  /// columns keys or, of keys' gradients, the other way round.
  ScoreElements(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                const KeyViews &views, const KernelArguments &arguments,
                Value lane, std::array<Row, 2> rows);

  /// The rows in memory of the lane's two columns of the 16x8 scores n.
  std::array<Value, 2> columnRows(const TilePlace &at, int64_t n) const;
  /// What also full tiles need: scaled, capped and biased scores.
  SmallVector<Value> adjust(ValueRange scores, const TilePlace &at);
  /// What the piece's test says of the tile's `columns`: bit 4n + 2i + j of an
  /// i32 is that of element [i][j] of the scores n. Null where there is no
  /// test. `isAllowed`: whether it is known to hold for all; null: it is not.
  Value test(const TilePlace &at, int64_t columns, Value isAllowed);
  /// Whether the elements of the scores n are pairs, vector<2x2xi1>; null: all
  /// are.
  using Within = std::function<Value(int64_t n)>;
  /// Of columns from `from` on: those of [low, high) (vector<2x2xi32>), of
  /// which one may be null, which bounds nothing.
  Within between(Value from, Value low, Value high);
  /// Scores of what is not within are masked, and those for which the test does
  /// not hold.
  SmallVector<Value> mask(ValueRange scores, Value tested,
                          const Within &within);

private:
  /// The query and the key of an element: [row half] and a column's row.
  struct Pair {
    Row query;
    Value key;
  };
  Pair pairOf(int64_t half, Value columnRow) const;
  Value biased(Value score, const TilePlace &at, int64_t n);
  Value biasOf(Value bias, const Pair &pair);
  Value holds(const TilePlace &at, Value number, Value isSecond);
  Value testEach(const TilePlace &at, int64_t columns);
  Value splat(float value) { return a.splat(value, tile); }
  Value constants(ArrayRef<int32_t> values);

  ImplicitLocOpBuilder &b;
  Arith a;
  const AttentionShape &shape;
  const KeyViews &views;
  const KernelArguments &arguments;
  bool rowsAreKeys;
  Value pair;
  std::array<Row, 2> rows;
  VectorType tile, ints;
};

} // namespace mlir::megactx::nvgpu

#endif
