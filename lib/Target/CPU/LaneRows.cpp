//===- LaneRows.cpp - rows between memory and lanes -----------------------===//

#include "LaneRows.h"
#include "Kernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

void LaneRows::load(const HeadOf &from, float factor, Value to) {
  Value scalar = a.f32(factor);
  Value count = memref::DimOp::create(b, rowOf, 0);
  emitFor(b, a.c(0), count, lanes(), [&](Value lane) {
    SmallVector<Value> rows;
    for (int64_t i = 0; i < lanes(); ++i)
      rows.push_back(memref::LoadOp::create(b, rowOf, a.add(lane, a.c(i))));
    emitFor(b, a.c(0), a.c(whole(from.dim)), lanes(),
            [&](Value d) { loadSquare(from, rows, factor, lane, d, to); });
    emitFor(b, a.c(whole(from.dim)), a.c(from.dim), 1, [&](Value d) {
      for (int64_t i = 0; i < lanes(); ++i) {
        Value x = memref::LoadOp::create(b, from.tensor, from.at(rows[i], d));
        x = arith::MulFOp::create(b, toF32(b, x), scalar);
        memref::StoreOp::create(b, x, to, ValueRange{d, a.add(lane, a.c(i))});
      }
    });
  });
}

void LaneRows::loadSquare(const HeadOf &from, ArrayRef<Value> rows,
                          float factor, Value lane, Value d, Value to) {
  Value factors = a.splat(factor, vector);
  SmallVector<Value> square;
  for (Value row : rows)
    square.push_back(arith::MulFOp::create(
        b, loadF32(b, vector, from.tensor, from.at(row, d)), factors));
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

void LaneRows::store(Value turned, Value turnedRow, const HeadOf &to,
                     Value lane, Value oldWeight) {
  Value row = memref::LoadOp::create(b, rowOf, lane);
  emitFor(b, a.c(0), a.c(whole(to.dim)), lanes(), [&](Value d) {
    Value x =
        vector::LoadOp::create(b, vector, turned, ValueRange{turnedRow, d});
    if (oldWeight) {
      Value weight = vector::BroadcastOp::create(b, vector, oldWeight);
      Value before = loadF32(b, vector, to.tensor, to.at(row, d));
      x = vector::FMAOp::create(b, before, weight, x);
    }
    storeF32(b, x, to.tensor, to.at(row, d));
  });
  emitFor(b, a.c(whole(to.dim)), a.c(to.dim), 1, [&](Value d) {
    Value x = memref::LoadOp::create(b, turned, ValueRange{turnedRow, d});
    if (oldWeight) {
      Value before =
          toF32(b, memref::LoadOp::create(b, to.tensor, to.at(row, d)));
      x = arith::AddFOp::create(b, x,
                                arith::MulFOp::create(b, before, oldWeight));
    }
    storeF32(b, x, to.tensor, to.at(row, d));
  });
}
