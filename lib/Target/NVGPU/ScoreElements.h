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

namespace mlir::megactx::nvgpu {

/// The part of a piece that a warp is at: a tile's keys start at `from` in the
/// numbers of the key view, of which `last` is the last in memory.
/// `beginsBefore`: the first tile's may be before the first in memory.
struct TilePlace {
  unsigned piece;
  KeyViews::Places places;
  Value from, last;
  bool beginsBefore;
};

class ScoreElements {
public:
  /// `rows`: the lane's two rows.
  ScoreElements(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                const KeyViews &views, const KernelArguments &arguments,
                Value lane, std::array<Row, 2> rows);

  /// What also full tiles need: scaled, capped and biased scores.
  SmallVector<Value> adjust(ValueRange scores, const TilePlace &at);
  /// What the piece's test says of the tile's `columns`: bit 4n + 2i + j of an
  /// i32 is that of element [i][j] of the scores n. Null where there is no
  /// test. `isAllowed`: whether it is known to hold for all; null: it is not.
  Value test(const TilePlace &at, int64_t columns, Value isAllowed);
  /// Scores of keys outside of [low, high) (vector<2x2xi32>) are masked, and
  /// those for which the test does not hold. Of these, one at least is not
  /// null; what is null bounds nothing.
  SmallVector<Value> mask(ValueRange scores, const TilePlace &at, Value tested,
                          Value low, Value high);

private:
  Value cap(Value score);
  Value biased(Value score, const TilePlace &at, int64_t n);
  Value biasOf(Value bias, const Row &row, Value keyRow);
  Value holds(const TilePlace &at, Value number, Value row);
  Value testEach(const TilePlace &at, int64_t columns);
  Value rowOfKey(const TilePlace &at, Value number);
  Value splat(float value) { return a.splat(value, tile); }
  Value constants(ArrayRef<int32_t> values);

  ImplicitLocOpBuilder &b;
  Arith a;
  const AttentionShape &shape;
  const KeyViews &views;
  const KernelArguments &arguments;
  Value pair;
  std::array<Row, 2> rows;
  VectorType tile, ints;
};

} // namespace mlir::megactx::nvgpu

#endif
