//===- PieceTiles.h - which tiles of keys rows read -------------*- C++ -*-===//
//
// Owns the way from rows of a block to the keys of a piece that they see: of
// rows that follow each other, all keys that any of them sees and those that
// all see; of a lane's two rows, their own.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_PIECETILES_H
#define MEGACTX_LIB_TARGET_NVGPU_PIECETILES_H

#include "BlockRows.h"

namespace mlir::megactx::nvgpu {

/// The keys of a piece that rows read, in the numbers of the key view: [begin,
/// end), of which all rows see [fullBegin, fullEnd).
struct PieceTiles {
  unsigned index;
  Value begin, end, fullBegin, fullEnd;

  /// The first key of the last of the tiles of so many keys from `begin` on.
  Value last(const Arith &a, int64_t keys) const {
    Value before = a.div(a.sub(a.sub(end, begin), a.c(1)), a.c(keys));
    return a.add(begin, a.mul(before, a.c(keys)));
  }
};

/// Of a lane's rows [row half][column], vector<2x2xi32>: each sees keys of
/// [low, high); low is null where nothing bounds it.
struct LaneBounds {
  Value low, high;
};

/// Where a test says the same of blocks of so many positions that tiles of
/// columns divide, tiles begin with a block's part, so that none holds columns
/// of two: if there are columns from there on. `offset`: the position of number
/// 0.
Value beginOfTiles(const Arith &a, Value begin, Value offset, int64_t block,
                   int64_t columns);

class PieceBounds {
public:
  PieceBounds(ImplicitLocOpBuilder &b, const AttentionShape &shape,
              const Tiling &tiling, const KeyViews &views,
              const BlockRows &rows, const KernelArguments &arguments,
              Value lane)
      : b(b), a{b}, shape(shape), tiling(tiling), views(views), rows(rows),
        arguments(arguments), lane(lane) {}

  /// Of `count` rows of the block from the number `first` on; past the last row
  /// of all they are as that. With parts, those keys that are the block's.
  /// Where rows have positions of their own, all lanes of a warp ask.
  PieceTiles ofRows(unsigned index, Value first, int64_t count) const;
  /// The same of some of the rows that `block` is of, with its part of the
  /// keys.
  PieceTiles ofRowsWithin(const PieceTiles &block, Value first,
                          int64_t count) const;
  LaneBounds ofLane(unsigned index, const std::array<Row, 2> &own) const;
  /// Whether tiles begin with a box, which may be before the first key.
  bool beginsWithBox(unsigned index) const;

private:
  PieceTiles ofAllParts(unsigned index, Value first, int64_t count) const;
  std::pair<Value, Value> ofPosition(unsigned index, Value position) const;
  std::pair<Value, Value> positionsOf(Value first, Value last) const;
  Value beginOfTiles(unsigned index, Value begin) const;
  Value isRow(unsigned index, Value position) const;

  ImplicitLocOpBuilder &b;
  Arith a;
  const AttentionShape &shape;
  const Tiling &tiling;
  const KeyViews &views;
  const BlockRows &rows;
  const KernelArguments &arguments;
  Value lane;
};

} // namespace mlir::megactx::nvgpu

#endif
