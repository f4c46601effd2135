//===- TileProducts.cpp - products by matrix tiles ------------------------===//

#include "TileProducts.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

bool mlir::megactx::cpu::fitTiles(const KernelShape &shape) {
  return shape.tiles && shape.lanes == kWords && shape.element.isBF16() &&
         shape.headDim % kWords == 0 && shape.valueDim % kWords == 0;
}

/// Of the right side, at most so many tiles stay in registers: of eight, three
/// are for the sums and the left side.
static constexpr int64_t kHeld = 4;

void TileProducts::emit(const TileRows &left, const TileRows &right,
                        const TileSums &sums, int64_t depth, bool adds) {
  SmallVector<Value> held;
  if (sums.tiles * depth / kNarrow <= kHeld)
    held = columns(right, sums.tiles, 0, depth);
  int64_t high = held.empty() ? 2 * kTileRows : kTileRows;
  int64_t whole = sums.rows / high * high;
  auto from = [&](Value i, int64_t rows) {
    TileRows leftHere = left;
    Value down = left.stride ? a.mul(i, left.stride) : i;
    leftHere.at.front() = a.add(left.at.front(), down);
    TileSums here = sums;
    here.row = a.add(sums.row, i);
    here.rows = rows;
    block(leftHere, right, here, depth, adds, held);
  };
  emitFor(b, a.c(0), a.c(whole), high, [&](Value i) { from(i, high); });
  if (whole < sums.rows)
    from(a.c(whole), sums.rows - whole);
}

/// A tile from so many rows and columns on.
Value TileProducts::load(const TileRows &from, Value row, int64_t column) {
  auto type = amx::TileType::get({kTileRows, kNarrow}, b.getBF16Type());
  SmallVector<Value> at = from.at;
  if (from.stride)
    row = a.mul(row, from.stride);
  at.front() = a.add(at.front(), row);
  at.back() = a.add(at.back(), a.c(column));
  return amx::TileLoadOp::create(b, type, from.data, at, from.stride);
}

/// The right side's tiles of [begin, end) of the depth, so many of each.
SmallVector<Value> TileProducts::columns(const TileRows &right, int64_t number,
                                         int64_t begin, int64_t end) {
  SmallVector<Value> tiles;
  for (int64_t k = begin; k < end; k += kNarrow)
    for (int64_t w = 0; w < number; ++w)
      tiles.push_back(load(right, a.c(k / 2), w * kNarrow));
  return tiles;
}

void TileProducts::block(const TileRows &left, const TileRows &right,
                         const TileSums &sums, int64_t depth, bool adds,
                         ArrayRef<Value> held) {
  auto type = amx::TileType::get({kTileRows, kWords}, b.getF32Type());
  int64_t high = sums.rows / kTileRows;
  auto at = [&](int64_t h, int64_t w) -> SmallVector<Value> {
    return {a.add(sums.row, a.c(h * kTileRows)),
            a.add(sums.column, a.c(w * kWords))};
  };
  SmallVector<Value> total;
  for (int64_t h = 0; h < high; ++h)
    for (int64_t w = 0; w < sums.tiles; ++w)
      total.push_back(
          adds ? amx::TileLoadOp::create(b, type, sums.to, at(h, w)).getRes()
               : amx::TileZeroOp::create(b, type).getRes());
  for (int64_t k = 0; k < depth; k += kNarrow) {
    SmallVector<Value> beside(
        held.empty() ? columns(right, sums.tiles, k, k + kNarrow)
                     : held.slice(sums.tiles * k / kNarrow, sums.tiles));
    for (int64_t h = 0; h < high; ++h) {
      Value rows = load(left, a.c(h * kTileRows), k);
      for (int64_t w = 0; w < sums.tiles; ++w) {
        Value &sum = total[sums.tiles * h + w];
        sum = amx::TileMulFOp::create(b, type, rows, beside[w], sum);
      }
    }
  }
  for (int64_t h = 0; h < high; ++h)
    for (int64_t w = 0; w < sums.tiles; ++w)
      amx::TileStoreOp::create(b, sums.to, at(h, w), total[sums.tiles * h + w]);
}

static ArrayRef<int64_t> shapeOf(Value x) {
  return cast<MemRefType>(x.getType()).getShape();
}

void TileProducts::pack(const TableRows &rows, Value to) {
  auto type = VectorType::get({kWords}, b.getBF16Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(type));
  emitFor(b, a.c(0), a.c(shapeOf(to)[0]), 1, [&](Value n) {
    Value at = memref::LoadOp::create(b, rows.at, n);
    for (int64_t d = 0; d < shapeOf(to)[1]; d += kWords) {
      Value x = none;
      if (d < rows.dim)
        x = vector::LoadOp::create(b, type, rows.data, a.add(at, a.c(d)));
      vector::StoreOp::create(b, x, to, ValueRange{n, a.c(d)});
    }
  });
}

void TileProducts::turn(const TableRows &rows, Value to) {
  emitFor(b, a.c(0), a.c(shapeOf(to)[1]), kNarrow, [&](Value n) {
    emitFor(b, a.c(0), a.c(rows.dim), kWords,
            [&](Value d) { turnSquare(rows, n, d, to); });
  });
}

/// Of so many pairs of rows as of columns.
void TileProducts::turnSquare(const TableRows &rows, Value n, Value d,
                              Value to) {
  auto type = VectorType::get({kWords}, b.getBF16Type());
  auto words = VectorType::get({kWords}, b.getI32Type());
  auto row = VectorType::get({kNarrow}, b.getBF16Type());
  SmallVector<Value> square;
  for (int64_t pair = 0; pair < kWords; ++pair) {
    auto of = [&](int64_t i) -> Value {
      Value at =
          memref::LoadOp::create(b, rows.at, a.add(n, a.c(2 * pair + i)));
      return vector::LoadOp::create(b, type, rows.data, a.add(at, d));
    };
    Value both = vector::InterleaveOp::create(b, of(0), of(1));
    square.push_back(vector::BitCastOp::create(b, words, both));
  }
  for (auto [i, x] : llvm::enumerate(emitTranspose(b, square)))
    vector::StoreOp::create(b, vector::BitCastOp::create(b, row, x), to,
                            ValueRange{a.add(d, a.c(i)), n});
}

void TileProducts::pairRows(Value rows, Value to) {
  auto type = VectorType::get({kWords}, b.getF32Type());
  int64_t pairs = shapeOf(rows)[0] / 2, width = shapeOf(rows)[1];
  auto store = [&](Value x, Value pair, int64_t lane) {
    vector::StoreOp::create(b, x, to, ValueRange{pair, a.c(2 * lane)});
  };
  emitFor(b, a.c(0), a.c(pairs), 1, [&](Value pair) {
    for (int64_t lane = 0; lane < width; lane += kWords) {
      auto row = [&](int64_t i) -> Value {
        Value d = a.add(a.mul(pair, a.c(2)), a.c(i));
        return vector::LoadOp::create(b, type, rows, ValueRange{d, a.c(lane)});
      };
      store(emitPairs(b, row(0), row(1)), pair, lane);
    }
  });
  Value none = a.splat(0.0f, type);
  for (int64_t pair = pairs; pair < shapeOf(to)[0]; ++pair)
    for (int64_t lane = 0; lane < width; lane += kWords)
      store(emitPairs(b, none, none), a.c(pair), lane);
}

Value mlir::megactx::cpu::emitPairs(ImplicitLocOpBuilder &b, Value low,
                                    Value high) {
  auto type = VectorType::get({kWords}, b.getI32Type());
  auto all = [&](int32_t bits) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, b.getI32IntegerAttr(bits)));
  };
  // Half of the last bit that is kept.
  auto rounded = [&](Value x) -> Value {
    Value bits = arith::BitcastOp::create(b, type, x);
    return arith::AddIOp::create(b, bits, all(0x8000));
  };
  Value below = arith::ShRUIOp::create(b, rounded(low), all(16));
  Value above = arith::AndIOp::create(b, rounded(high), all(0xffff0000));
  Value words = arith::OrIOp::create(b, below, above);
  return vector::BitCastOp::create(
      b, VectorType::get({kNarrow}, b.getBF16Type()), words);
}
