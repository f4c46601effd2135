//===- Fragments.cpp - the softmax step -----------------------------------===//

#include "Fragments.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

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

std::unique_ptr<Fragments> Fragments::create(ImplicitLocOpBuilder &b,
                                             const AttentionShape &shape,
                                             const Tiling &tiling, Value lane,
                                             Value warp) {
  return (shape.element.isF32() ? createFmaFragments : createMmaFragments)(
      b, shape, tiling, lane, warp);
}

Fragments::Fragments(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                     const Tiling &tiling, Value lane, Value warp)
    : b(b), a{b}, shape(shape), tiling(tiling), lane(lane), warp(warp),
      tile(VectorType::get({2, 2}, b.getF32Type())) {}

Value Fragments::splat(float value) { return a.splat(value, tile); }

State Fragments::empty() {
  return {splat(kMasked), splat(0.0f),
          SmallVector<Value>(tiling.paddedValue / 8, splat(0.0f))};
}

Value Fragments::overRow(Value pairs, bool isMax) {
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

State Fragments::update(State state, ValueRange scores, Value shared,
                        Value row) {
  Value best = state.max;
  for (Value s : scores)
    best = arith::MaximumFOp::create(b, best, s);
  best = overRow(best, true);
  Value factor = splat(factorOf(shape) * static_cast<float>(M_LOG2E));
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
  SmallVector<Value> weights;
  for (Value s : scores) {
    Value p = power(s);
    sum = arith::AddFOp::create(b, sum, p);
    weights.push_back(p);
  }
  accumulate(state.out, weights, shared, row);
  return {best, sum, state.out};
}
