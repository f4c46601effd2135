//===- PieceTiles.cpp - which tiles of keys rows read ---------------------===//

#include "PieceTiles.h"
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
    lo = a.select(attends, lo, arguments.keyOffset);
    hi = a.select(attends, hi, arguments.keyOffset);
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

/// The bounds of the first and the last row enclose those of all others: bounds
/// never decrease.
PieceTiles PieceBounds::ofRows(unsigned index, Value first,
                               int64_t count) const {
  const Piece &piece = shape.pieces[index];
  Value lastOfAll = a.sub(rows.count, a.c(1));
  Value last = a.min(a.add(first, a.c(count - 1)), lastOfAll);
  if (first != rows.begin)
    first = a.min(first, lastOfAll);
  Value firstAt = rows.positionOf(first);
  Value lastAt = rows.positionOf(last);
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
  Value fullEnd = a.select(all, firstEnd, begin);
  if (tiling.split)
    std::tie(begin, end) = rows.parts.share(a, begin, end, tiling.keys);
  return {index, begin, end, lastBegin, fullEnd};
}

LaneBounds PieceBounds::ofLane(unsigned index,
                               const std::array<Row, 2> &own) const {
  SmallVector<Value> low, high;
  for (const Row &row : own) {
    Value position = views.positionOf(row.number);
    auto [lo, hi] = ofPosition(index, position);
    hi = a.select(isRow(index, position), hi, lo);
    lo = arith::IndexCastOp::create(b, b.getI32Type(), lo);
    hi = arith::IndexCastOp::create(b, b.getI32Type(), hi);
    low.append({lo, lo});
    high.append({hi, hi});
  }
  auto ints = VectorType::get({2, 2}, b.getI32Type());
  LaneBounds bounds;
  if (!shape.pieces[index].lo.empty())
    bounds.low = vector::FromElementsOp::create(b, ints, low);
  bounds.high = vector::FromElementsOp::create(b, ints, high);
  return bounds;
}
