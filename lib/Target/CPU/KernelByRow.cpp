//===- KernelByRow.cpp - blocks of keys for a few rows --------------------===//
//
// Where a task has fewer rows than would fill the lanes, as in decoding, keys
// and values are read with their own columns in the lanes, row after row:
//
//   S[n][m]    = sum of K[n][:] * Q[m][:]
//   O[m][:]   += P[n][m] * V[n][:]
//
// Masks and exponentials are those of all blocks.
//
//===----------------------------------------------------------------------===//

#include "KernelBlock.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx::cpu;

/// Vectors that are summed at once.
static constexpr int64_t kSums = 8;

static Value loadColumns(ImplicitLocOpBuilder &b, Value from, Value at,
                         int64_t lanes) {
  Type element = cast<MemRefType>(from.getType()).getElementType();
  auto type = VectorType::get({lanes}, element);
  return toF32(b, vector::LoadOp::create(b, type, from, at));
}

void BlockBuffers::turnQueries(ImplicitLocOpBuilder &b) const {
  Arith a{b};
  emitFor(b, a.c(0), rowCount, 1, [&](Value row) {
    emitFor(b, a.c(0), memref::DimOp::create(b, queries, 0), 1, [&](Value d) {
      Value x = memref::LoadOp::create(b, queries, ValueRange{d, row});
      memref::StoreOp::create(b, x, queryRows, ValueRange{row, d});
    });
  });
}

void BlockBuffers::turnResults(ImplicitLocOpBuilder &b) const {
  Arith a{b};
  emitFor(b, a.c(0), rowCount, 1, [&](Value row) {
    emitFor(b, a.c(0), memref::DimOp::create(b, acc, 0), 1, [&](Value d) {
      Value x = memref::LoadOp::create(b, accRows, ValueRange{row, d});
      memref::StoreOp::create(b, x, acc, ValueRange{d, row});
    });
  });
}

void KeyBlock::productsByRow(Value count) {
  static_assert(kBlockKeys % kSums == 0);
  int64_t whole = shape.headDim / shape.lanes * shape.lanes;
  Value zero = a.splat(0.0f, buffers.vector);
  emitFor(b, a.c(0), buffers.rowCount, 1, [&](Value row) {
    emitFor(b, a.c(0), count, kSums, [&](Value n) {
      SmallVector<Value> at;
      for (int64_t i = 0; i < kSums; ++i)
        at.push_back(
            memref::LoadOp::create(b, buffers.keyAt, a.add(n, a.c(i))));
      SmallVector<Value> sums = emitFor(
          b, a.c(0), a.c(whole), shape.lanes, SmallVector<Value>(kSums, zero),
          [&](Value d, ValueRange so) -> SmallVector<Value> {
            Value q = vector::LoadOp::create(
                b, buffers.vector, buffers.queryRows, ValueRange{row, d});
            SmallVector<Value> next;
            for (int64_t i = 0; i < kSums; ++i) {
              Value k =
                  loadColumns(b, buffers.keyData, a.add(at[i], d), shape.lanes);
              next.push_back(vector::FMAOp::create(b, k, q, so[i]));
            }
            return next;
          });
      for (int64_t i = 0; i < kSums; ++i) {
        Value sum =
            vector::ReductionOp::create(b, vector::CombiningKind::ADD, sums[i],
                                        arith::FastMathFlags::reassoc);
        auto rest = [&](Value d, ValueRange so) -> SmallVector<Value> {
          Value q =
              memref::LoadOp::create(b, buffers.queryRows, ValueRange{row, d});
          Value k = memref::LoadOp::create(b, buffers.keyData, a.add(at[i], d));
          Value product = arith::MulFOp::create(b, toF32(b, k), q);
          return {arith::AddFOp::create(b, so[0], product)};
        };
        if (whole < shape.headDim)
          sum = emitFor(b, a.c(whole), a.c(shape.headDim), 1, ValueRange{sum},
                        rest)[0];
        memref::StoreOp::create(b, sum, buffers.scores,
                                ValueRange{a.add(n, a.c(i)), row});
      }
    });
  });
}

void KeyBlock::accumulateByRow(ValueRange decay, Value count) {
  // The store's scratch is free until then.
  vector::StoreOp::create(b, decay[0], buffers.inverse, a.c(0));
  int64_t lanes = shape.lanes, step = kSums * lanes;
  int64_t most = shape.valueDim / step * step;
  int64_t whole = shape.valueDim / lanes * lanes;
  emitFor(b, a.c(0), buffers.rowCount, 1, [&](Value row) {
    Value factor = memref::LoadOp::create(b, buffers.inverse, row);
    emitFor(b, a.c(0), a.c(most), step,
            [&](Value d) { columnsOfRow(row, d, kSums, factor, count); });
    if (most < whole)
      columnsOfRow(row, a.c(most), (whole - most) / lanes, factor, count);
    emitFor(b, a.c(whole), a.c(shape.valueDim), 1,
            [&](Value d) { columnsOfRow(row, d, 0, factor, count); });
  });
}

/// O[row][d ...] of as many vectors; of one column where there are none.
void KeyBlock::columnsOfRow(Value row, Value d, int64_t vectors, Value factor,
                            Value count) {
  auto spread = [&](Value x) -> Value {
    return vectors ? vector::BroadcastOp::create(b, buffers.vector, x) : x;
  };
  auto place = [&](int64_t i) { return a.add(d, a.c(i * shape.lanes)); };
  SmallVector<Value> sums;
  for (int64_t i = 0; i < std::max<int64_t>(vectors, 1); ++i) {
    SmallVector<Value> at = {row, place(i)};
    Value old = vectors ? Value(vector::LoadOp::create(b, buffers.vector,
                                                       buffers.accRows, at))
                        : memref::LoadOp::create(b, buffers.accRows, at);
    sums.push_back(arith::MulFOp::create(b, old, spread(factor)));
  }
  sums = emitFor(
      b, a.c(0), count, 1, sums,
      [&](Value n, ValueRange so) -> SmallVector<Value> {
        Value at = memref::LoadOp::create(b, buffers.valueAt, n);
        Value p = spread(
            memref::LoadOp::create(b, buffers.scores, ValueRange{n, row}));
        SmallVector<Value> next;
        for (auto [i, sum] : llvm::enumerate(so)) {
          Value from = a.add(at, place(i));
          Value v = vectors
                        ? loadColumns(b, buffers.valueData, from, shape.lanes)
                        : toF32(b, memref::LoadOp::create(b, buffers.valueData,
                                                          from));
          if (vectors)
            next.push_back(vector::FMAOp::create(b, p, v, sum));
          else
            next.push_back(
                arith::AddFOp::create(b, sum, arith::MulFOp::create(b, p, v)));
        }
        return next;
      });
  for (auto [i, sum] : llvm::enumerate(sums)) {
    SmallVector<Value> at = {row, place(i)};
    if (vectors)
      vector::StoreOp::create(b, sum, buffers.accRows, at);
    else
      memref::StoreOp::create(b, sum, buffers.accRows, at);
  }
}
