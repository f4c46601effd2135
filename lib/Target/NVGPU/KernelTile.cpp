//===- KernelTile.cpp - what a warp does with a tile ----------------------===//

#include "Kernel.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

SmallVector<Value> State::pack() const {
  SmallVector<Value> values = {max, sum};
  values.append(out);
  return values;
}

State State::unpack(ValueRange values) {
  return {values[0], values[1], SmallVector<Value>(values.drop_front(2))};
}

TileEmitter::TileEmitter(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                         Value lane, Value warp)
    : b(b), a{b}, shape(shape), tiling(shape), lane(lane), warp(warp),
      tile(VectorType::get({2, 2}, b.getF32Type())),
      aType(VectorType::get({4, 2}, shape.element)),
      bType(VectorType::get({2, 2}, shape.element)) {
  inEight = a.rem(lane, a.c(8));
  eighth = a.rem(a.div(lane, a.c(8)), a.c(2));
  sixteenth = a.div(lane, a.c(16));
  pair = a.mul(a.rem(lane, a.c(4)), a.c(2));
}

Value TileEmitter::splat(float value) { return a.splat(value, tile); }

Value TileEmitter::fragment(Value shared, Value row, Value column,
                            bool transpose) {
  return mlir::nvgpu::LdMatrixOp::create(b, aType, shared,
                                         ValueRange{row, column}, transpose, 4);
}

Value TileEmitter::half(Value fragment, int64_t which) {
  return vector::ExtractStridedSliceOp::create(
      b, fragment, ArrayRef<int64_t>{2 * which, 0}, ArrayRef<int64_t>{2, 2},
      ArrayRef<int64_t>{1, 1});
}

void TileEmitter::bindQueries(Value shared) {
  queries = shared;
  if (!tiling.queriesInRegisters())
    return;
  Value row =
      a.add(a.mul(warp, a.c(16)), a.add(inEight, a.mul(eighth, a.c(8))));
  for (int64_t d = 0; d < tiling.paddedHead; d += 16)
    queryFragments.push_back(
        fragment(shared, row, a.add(a.mul(sixteenth, a.c(8)), a.c(d)), false));
}

SmallVector<Value> TileEmitter::scores(Value shared, Value row) {
  SmallVector<Value> result(tiling.keys / 8, splat(0.0f));
  Value lanes = a.add(row, a.add(inEight, a.mul(sixteenth, a.c(8))));
  Value queryRow =
      a.add(a.mul(warp, a.c(16)), a.add(inEight, a.mul(eighth, a.c(8))));
  for (int64_t d = 0; d < tiling.paddedHead; d += 16) {
    Value q = tiling.queriesInRegisters()
                  ? queryFragments[d / 16]
                  : fragment(queries, queryRow,
                             a.add(a.mul(sixteenth, a.c(8)), a.c(d)), false);
    Value column = a.add(a.mul(eighth, a.c(8)), a.c(d));
    for (int64_t n = 0; n < tiling.keys / 16; ++n) {
      Value k = fragment(shared, a.add(lanes, a.c(16 * n)), column, false);
      for (int64_t i = 0; i < 2; ++i)
        result[2 * n + i] =
            nvx::MmaSyncOp::create(b, q, half(k, i), result[2 * n + i]);
    }
  }
  return result;
}

SmallVector<Value> TileEmitter::mask(ValueRange scores, Value from, Value low,
                                     Value high) {
  auto ints = VectorType::get({2, 2}, b.getI32Type());
  Value first =
      arith::IndexCastOp::create(b, b.getI32Type(), a.add(from, pair));
  first = vector::BroadcastOp::create(b, ints, first);
  Value masked = splat(kMasked);
  SmallVector<Value> result;
  for (auto [n, score] : llvm::enumerate(scores)) {
    int32_t at = 8 * n;
    Value step = arith::ConstantOp::create(
        b, DenseElementsAttr::get(ints,
                                  ArrayRef<int32_t>{at, at + 1, at, at + 1}));
    Value key = arith::AddIOp::create(b, first, step);
    using Predicate = arith::CmpIPredicate;
    Value keep = a.both(arith::CmpIOp::create(b, Predicate::sge, key, low),
                        arith::CmpIOp::create(b, Predicate::slt, key, high));
    result.push_back(a.select(keep, score, masked));
  }
  return result;
}

Value TileEmitter::overRow(Value pairs, bool isMax) {
  auto join = [&](Value x, Value y) -> Value {
    if (isMax)
      return arith::MaximumFOp::create(b, x, y);
    return arith::AddFOp::create(b, x, y);
  };
  SmallVector<Value> rows;
  for (int64_t i = 0; i < 2; ++i) {
    auto at = [&](int64_t j) -> Value {
      return vector::ExtractOp::create(b, pairs, ArrayRef<int64_t>{i, j});
    };
    Value x = join(at(0), at(1));
    for (int32_t offset : {1, 2})
      x = join(x,
               gpu::ShuffleOp::create(b, x, offset, 32, gpu::ShuffleMode::XOR)
                   .getShuffleResult());
    rows.append({x, x});
  }
  return vector::FromElementsOp::create(b, tile, rows);
}

State TileEmitter::update(State state, ValueRange scores, Value shared,
                          Value row) {
  Value best = state.max;
  for (Value s : scores)
    best = arith::MaximumFOp::create(b, best, s);
  best = overRow(best, true);
  Value factor = splat(shape.scale * static_cast<float>(M_LOG2E));
  // A row that has seen no key yet takes 0 as its maximum: its p become 0.
  Value some = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, best,
                                     splat(kMasked / 2));
  Value safe = a.select(some, best, splat(0.0f));
  Value shift =
      arith::NegFOp::create(b, arith::MulFOp::create(b, safe, factor));
  auto power = [&](Value x) -> Value {
    return nvx::Exp2Op::create(b, vector::FMAOp::create(b, x, factor, shift));
  };
  Value decay = power(state.max);
  Value sum = arith::MulFOp::create(b, state.sum, decay);
  for (Value &o : state.out)
    o = arith::MulFOp::create(b, o, decay);
  SmallVector<Value> narrow;
  for (Value s : scores) {
    Value p = power(s);
    sum = arith::AddFOp::create(b, sum, p);
    narrow.push_back(arith::TruncFOp::create(b, bType, p));
  }
  Value lanes = a.add(row, a.add(inEight, a.mul(eighth, a.c(8))));
  for (int64_t k = 0; k < tiling.keys / 16; ++k) {
    Value p = arith::ConstantOp::create(b, b.getZeroAttr(aType));
    for (int64_t i = 0; i < 2; ++i)
      p = vector::InsertStridedSliceOp::create(b, narrow[2 * k + i], p,
                                               ArrayRef<int64_t>{2 * i, 0},
                                               ArrayRef<int64_t>{1, 1});
    for (int64_t n = 0; n < tiling.paddedValue / 16; ++n) {
      Value column = a.add(a.mul(sixteenth, a.c(8)), a.c(16 * n));
      Value v = fragment(shared, a.add(lanes, a.c(16 * k)), column, true);
      for (int64_t i = 0; i < 2; ++i)
        state.out[2 * n + i] =
            nvx::MmaSyncOp::create(b, p, half(v, i), state.out[2 * n + i]);
    }
  }
  return {best, sum, state.out};
}
