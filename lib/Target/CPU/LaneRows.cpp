//===- LaneRows.cpp - rows between memory and lanes -----------------------===//

#include "LaneRows.h"
#include "Kernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

static SmallVector<Value> element(ArrayRef<Value> row, Value d) {
  SmallVector<Value> at(row);
  at.push_back(d);
  return at;
}

SmallVector<Value> LaneRows::rowAt(const BatchOf &of, Value lane) const {
  Value head = memref::LoadOp::create(b, headOf, lane);
  Value row = memref::LoadOp::create(b, rowOf, lane);
  return {of.batch, head, row};
}

void LaneRows::load(const BatchOf &from, float factor, Value to) {
  Value scalar = a.f32(factor);
  Value count = memref::DimOp::create(b, rowOf, 0);
  emitFor(b, a.c(0), count, lanes(), [&](Value lane) {
    SmallVector<SmallVector<Value>> rows;
    for (int64_t i = 0; i < lanes(); ++i)
      rows.push_back(rowAt(from, a.add(lane, a.c(i))));
    emitFor(b, a.c(0), a.c(whole(from.dim)), lanes(),
            [&](Value d) { loadSquare(from, rows, factor, lane, d, to); });
    emitFor(b, a.c(whole(from.dim)), a.c(from.dim), 1, [&](Value d) {
      for (int64_t i = 0; i < lanes(); ++i) {
        Value x = memref::LoadOp::create(b, from.tensor, element(rows[i], d));
        x = arith::MulFOp::create(b, toF32(b, x), scalar);
        memref::StoreOp::create(b, x, to, ValueRange{d, a.add(lane, a.c(i))});
      }
    });
  });
}

void LaneRows::loadSquare(const BatchOf &from,
                          ArrayRef<SmallVector<Value>> rows, float factor,
                          Value lane, Value d, Value to) {
  Value factors = a.splat(factor, vector);
  SmallVector<Value> square;
  for (ArrayRef<Value> row : rows)
    square.push_back(arith::MulFOp::create(
        b, loadF32(b, vector, from.tensor, element(row, d)), factors));
  for (auto [i, column] : llvm::enumerate(emitTranspose(b, square)))
    vector::StoreOp::create(b, column, to, ValueRange{a.add(d, a.c(i)), lane});
}

void LaneRows::turn(Value from, int64_t dim, Value lane, Value weights,
                    Value turned) {
  Value factors = vector::LoadOp::create(b, vector, weights, lane);
  emitFor(b, a.c(0), a.c(whole(dim)), lanes(), [&](Value d) {
    SmallVector<Value> square;
    for (int64_t i = 0; i < lanes(); ++i) {
      Value x = vector::LoadOp::create(b, vector, from,
                                       ValueRange{a.add(d, a.c(i)), lane});
      square.push_back(arith::MulFOp::create(b, x, factors));
    }
    for (auto [i, row] : llvm::enumerate(emitTranspose(b, square)))
      vector::StoreOp::create(b, row, turned, ValueRange{a.c(i), d});
  });
  emitFor(b, a.c(whole(dim)), a.c(dim), 1, [&](Value d) {
    emitFor(b, a.c(0), a.c(lanes()), 1, [&](Value i) {
      Value at = a.add(lane, i);
      Value x = memref::LoadOp::create(b, from, ValueRange{d, at});
      Value weight = memref::LoadOp::create(b, weights, at);
      memref::StoreOp::create(b, arith::MulFOp::create(b, x, weight), turned,
                              ValueRange{i, d});
    });
  });
}

void LaneRows::store(Value turned, Value turnedRow, const BatchOf &to,
                     Value lane, Value oldWeight) {
  SmallVector<Value> row = rowAt(to, lane);
  emitFor(b, a.c(0), a.c(whole(to.dim)), lanes(), [&](Value d) {
    Value x =
        vector::LoadOp::create(b, vector, turned, ValueRange{turnedRow, d});
    if (oldWeight) {
      Value weight = vector::BroadcastOp::create(b, vector, oldWeight);
      Value before = loadF32(b, vector, to.tensor, element(row, d));
      x = vector::FMAOp::create(b, before, weight, x);
    }
    storeF32(b, x, to.tensor, element(row, d));
  });
  emitFor(b, a.c(whole(to.dim)), a.c(to.dim), 1, [&](Value d) {
    Value x = memref::LoadOp::create(b, turned, ValueRange{turnedRow, d});
    if (oldWeight) {
      Value before =
          toF32(b, memref::LoadOp::create(b, to.tensor, element(row, d)));
      x = arith::AddFOp::create(b, x,
                                arith::MulFOp::create(b, before, oldWeight));
    }
    storeF32(b, x, to.tensor, element(row, d));
  });
}
