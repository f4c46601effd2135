//===- PieceTiles.cpp - which tiles of keys rows read ---------------------===//

#include "PieceTiles.h"
#include "../Common/TestBlocks.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;
using pattern::Piece;

/// The interval of keys of a row, in the numbers of the piece's key view.
std::pair<Value, Value> PieceBounds::ofPosition(unsigned index,
                                                Value position) const {
  const Piece &piece = shape.pieces[index];
  auto [lo, hi] = views.interval(index, position);
  ExprLeaves at = views.leaves(position);
  // A row past all keys has none, and must not widen the block's interval.
  lo = a.min(lo, at.keyEnd);
  hi = a.max(hi, lo);
  if (piece.heads) {
    // The same empty interval for all rows: the block reads no tile.
    Value attends = a.lt(a.c(0), emitExpr(b, piece.heads, at));
    Value first = views.firstPosition();
    lo = a.select(attends, lo, first);
    hi = a.select(attends, hi, first);
  }
  return views.inView(index, lo, hi);
}

Value PieceBounds::isRow(unsigned index, Value position) const {
  const Piece &piece = shape.pieces[index];
  Value holds = arith::ConstantIntOp::create(b, 1, 1);
  if (piece.rowBegin != -Piece::kOpen)
    holds = a.both(holds, a.le(a.c(piece.rowBegin), position));
  if (piece.rowEnd != Piece::kOpen)
    holds = a.both(holds, a.lt(position, a.c(piece.rowEnd)));
  return holds;
}

/// The least and the greatest position of rows, which at positions of their own
/// are in no order.
std::pair<Value, Value> PieceBounds::positionsOf(Value first,
                                                 Value last) const {
  if (!arguments.queryPositions)
    return {rows.positionOf(first), rows.positionOf(last)};
  auto integer = [&](Value number) -> Value {
    return arith::IndexCastOp::create(b, b.getI64Type(),
                                      rows.positionOf(number));
  };
  auto min = [&](Value x, Value y) { return a.min(x, y); };
  auto max = [&](Value x, Value y) { return a.max(x, y); };
  Value any = integer(last);
  SmallVector<Value> ends =
      emitFor(b, a.add(first, lane), last, nvx::kWarp, {any, any},
              [&](Value number, ValueRange so) -> SmallVector<Value> {
                Value position = integer(number);
                return {min(so[0], position), max(so[1], position)};
              });
  auto overAll = [&](Value x, function_ref<Value(Value, Value)> join) -> Value {
    return arith::IndexCastOp::create(b, b.getIndexType(),
                                      nvx::reduceInWarp(b, x, join));
  };
  return {overAll(ends[0], min), overAll(ends[1], max)};
}

bool PieceBounds::beginsWithBox(unsigned index) const {
  const Piece &piece = shape.pieces[index];
  return !piece.digits.isIdentity() && tiling.loadsBoxes(piece);
}

Value mlir::megactx::nvgpu::beginOfTiles(const Arith &a, Value begin,
                                         Value offset, int64_t block,
                                         int64_t columns) {
  if (block % columns)
    return begin;
  Value inTile = emitFloorMod(a.b, a.add(begin, offset), a.c(columns));
  return a.max(a.sub(begin, inTile), a.c(0));
}

Value PieceBounds::beginOfTiles(unsigned index, Value begin) const {
  if (beginsWithBox(index))
    return a.sub(begin, a.rem(begin, a.c(tiling.keyBoxRows)));
  auto test = TestBlocks::of(shape, shape.pieces[index]);
  if (!test)
    return begin;
  return nvgpu::beginOfTiles(a, begin, arguments.keyOffset, test->keys,
                             tiling.keys);
}

/// Bounds never decrease: those at the least and the greatest position enclose
/// all others.
PieceTiles PieceBounds::ofAllParts(unsigned index, Value first,
                                   int64_t count) const {
  const Piece &piece = shape.pieces[index];
  Value lastOfAll = a.sub(rows.count, a.c(1));
  Value last = a.min(a.add(first, a.c(count - 1)), lastOfAll);
  if (first != rows.begin)
    first = a.min(first, lastOfAll);
  auto [firstAt, lastAt] = positionsOf(first, last);
  auto inRows = [&](Value position) {
    if (piece.rowBegin != -Piece::kOpen)
      position = a.max(position, a.c(piece.rowBegin));
    if (piece.rowEnd != Piece::kOpen)
      position = a.min(position, a.c(piece.rowEnd - 1));
    return position;
  };
  Value begin, firstEnd, lastBegin, end;
  std::tie(begin, firstEnd) = ofPosition(index, inRows(firstAt));
  std::tie(lastBegin, end) = ofPosition(index, inRows(lastAt));
  Value all = a.both(isRow(index, firstAt), isRow(index, lastAt));
  begin = beginOfTiles(index, begin);
  Value fullEnd = a.select(all, firstEnd, begin);
  return {index, begin, end, lastBegin, fullEnd};
}

PieceTiles PieceBounds::ofRows(unsigned index, Value first,
                               int64_t count) const {
  PieceTiles tiles = ofAllParts(index, first, count);
  if (tiling.split)
    std::tie(tiles.begin, tiles.end) =
        rows.parts.share(a, tiles.begin, tiles.end, tiling.keys);
  return tiles;
}

PieceTiles PieceBounds::ofRowsWithin(const PieceTiles &block, Value first,
                                     int64_t count) const {
  PieceTiles tiles = ofAllParts(block.index, first, count);
  if (tiling.split)
    for (Value *bound : {&tiles.begin, &tiles.end})
      *bound = a.min(a.max(*bound, block.begin), block.end);
  return tiles;
}

LaneBounds PieceBounds::ofLane(unsigned index,
                               const std::array<Row, 2> &own) const {
  SmallVector<Value> low, high;
  for (const Row &row : own) {
    Value position = views.positionOf(row.number);
    auto [lo, hi] = ofPosition(index, position);
    // What is no row of the piece's is bounded by `high` alone: `low` may be
    // above those of all rows.
    hi = a.select(isRow(index, position), hi, a.c(0));
    lo = arith::IndexCastOp::create(b, b.getI32Type(), lo);
    hi = arith::IndexCastOp::create(b, b.getI32Type(), hi);
    low.append({lo, lo});
    high.append({hi, hi});
  }
  auto ints = VectorType::get({2, 2}, b.getI32Type());
  LaneBounds bounds;
  if (!shape.pieces[index].lo.empty() || beginsWithBox(index))
    bounds.low = vector::FromElementsOp::create(b, ints, low);
  bounds.high = vector::FromElementsOp::create(b, ints, high);
  return bounds;
}
