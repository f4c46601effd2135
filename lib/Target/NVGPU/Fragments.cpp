//===- Fragments.cpp - the softmax step -----------------------------------===//

#include "Fragments.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

SmallVector<Value> State::pack() const {
  SmallVector<Value> values = {max, sum};
  values.append(out);
  values.append(due);
  return values;
}

State State::unpack(ValueRange values) const {
  ValueRange rest = values.drop_front(2);
  return {values[0], values[1], SmallVector<Value>(rest.take_front(out.size())),
          SmallVector<Value>(rest.drop_front(out.size()))};
}

std::unique_ptr<Fragments> Fragments::create(ImplicitLocOpBuilder &b,
                                             const AttentionShape &shape,
                                             const Tiling &tiling, Value lane,
                                             Value warp) {
  switch (tiling.product) {
  case nvx::Product::fma:
    return createFmaFragments(b, shape, tiling, lane, warp);
  case nvx::Product::mma_sync:
    return createMmaFragments(b, shape, tiling, lane, warp);
  case nvx::Product::wgmma:
    return createWgmmaFragments(b, shape, tiling, lane, warp);
  }
  llvm_unreachable("no such product");
}

Fragments::Fragments(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                     const Tiling &tiling, Value lane, Value warp)
    : b(b), a{b}, shape(shape), tiling(tiling), lane(lane), warp(warp),
      tile(VectorType::get({2, 2}, b.getF32Type())),
      rows(VectorType::get({2}, b.getF32Type())),
      aType(VectorType::get({4, 2}, shape.element)) {}

Value Fragments::splat(float value) { return a.splat(value, tile); }

Value Fragments::loadMatrices(Value shared, const TileLayout &layout, Value row,
                              Value column, bool transpose) {
  return mlir::nvgpu::LdMatrixOp::create(
      b, aType, shared, layout.place(a, row, column), transpose, 4);
}

Value Fragments::loadQueries(Value shared, int64_t column) {
  Value row = a.add(a.mul(warp, a.c(16)), a.rem(lane, a.c(16)));
  Value half = a.mul(a.div(lane, a.c(16)), a.c(8));
  return loadMatrices(shared, tiling.queryTile, row, a.add(half, a.c(column)),
                      /*transpose=*/false);
}

SmallVector<Value> Fragments::narrow(ValueRange weights) {
  auto half = VectorType::get({2, 2}, shape.element);
  SmallVector<Value> result;
  for (size_t k = 0; k < weights.size(); k += 2) {
    Value p = arith::ConstantOp::create(b, b.getZeroAttr(aType));
    for (int64_t i = 0; i < 2; ++i)
      p = vector::InsertStridedSliceOp::create(
          b, arith::TruncFOp::create(b, half, weights[k + i]), p,
          ArrayRef<int64_t>{2 * i, 0}, ArrayRef<int64_t>{1, 1});
    result.push_back(p);
  }
  return result;
}

State Fragments::empty() {
  return {a.splat(kMasked, rows),
          splat(0.0f),
          SmallVector<Value>(tiling.paddedValue / 8, splat(0.0f)),
          {}};
}

Value Fragments::overRow(Value pairs, bool isMax) {
  auto join = [&](Value x, Value y) -> Value {
    if (isMax)
      return nvx::MaxOp::create(b, x, y);
    return arith::AddFOp::create(b, x, y);
  };
  SmallVector<Value> result;
  for (int64_t i = 0; i < 2; ++i) {
    auto at = [&](int64_t j) -> Value {
      return vector::ExtractOp::create(b, pairs, ArrayRef<int64_t>{i, j});
    };
    result.push_back(nvx::reduceInWarp(b, join(at(0), at(1)), join, 4));
  }
  return vector::FromElementsOp::create(b, rows, result);
}

/// Each row's number for both of the lane's columns.
Value Fragments::spread(Value ofRows) {
  SmallVector<Value> pairs;
  for (Value x : vector::ToElementsOp::create(b, ofRows).getResults())
    pairs.append({x, x});
  return vector::FromElementsOp::create(b, tile, pairs);
}

/// Weights are relative to a maximum of their row that follows it from 2^-8 on:
/// most tiles leave the output as it is, and weights are as exact below 2^8 as
/// below 1. (The condition is that of FlashAttention-4.)
Softmax Fragments::softmax(State &state, ValueRange scores) {
  Value best = scores.front();
  for (Value s : scores.drop_front())
    best = nvx::MaxOp::create(b, best, s);
  best = overRow(best, true);
  float scale = factorOf(shape) * static_cast<float>(M_LOG2E);
  auto of = [&](float x) { return a.splat(x, rows); };
  auto greater = [&](Value x, Value y) -> Value {
    return arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y);
  };
  constexpr float growth = 8;
  Value limit =
      arith::AddFOp::create(b, state.max, of(growth / std::abs(scale)));
  Value grew = greater(best, limit);
  best = a.select(grew, best, state.max);
  // A row that has seen no key yet takes 0 as its maximum: its p become 0.
  Value safe = a.select(greater(best, of(kMasked / 2)), best, of(0.0f));
  // One operation less; but of a finite bias that hides keys, the rounding of
  // the product alone is more than what exponents can be.
  bool isBiased = !shape.biasPerKey.empty();
  Value shift =
      isBiased
          ? safe
          : arith::NegFOp::create(b, arith::MulFOp::create(b, safe, of(scale)));
  auto power = [&](Value x, Value factor, Value by) -> Value {
    if (isBiased)
      x = arith::MulFOp::create(b, arith::SubFOp::create(b, x, by), factor);
    else
      x = vector::FMAOp::create(b, x, factor, by);
    return nvx::Exp2Op::create(b, x);
  };
  Value decay = a.select(grew, power(state.max, of(scale), shift), of(1.0f));
  decay = spread(decay);
  state.max = best;
  state.sum = arith::MulFOp::create(b, state.sum, decay);
  Value shifts = spread(shift);
  SmallVector<Value> weights;
  for (Value s : scores) {
    Value p = power(s, splat(scale), shifts);
    state.sum = arith::AddFOp::create(b, state.sum, p);
    weights.push_back(p);
  }
  return {weights, decay, inWarp(grew)};
}

/// Whether it holds of any row of the warp.
Value Fragments::inWarp(Value ofRows) {
  auto one = vector::ToElementsOp::create(b, ofRows).getResults();
  Value any = arith::OrIOp::create(b, one[0], one[1]);
  Value lanes = arith::ConstantIntOp::create(b, -1, 32);
  return NVVM::VoteSyncOp::create(b, b.getI1Type(), lanes, any,
                                  NVVM::VoteSyncKind::any);
}

void Fragments::rescale(SmallVectorImpl<Value> &out, const Softmax &step) {
  auto ifOp = scf::IfOp::create(
      b, step.grew,
      [&](OpBuilder &, Location) {
        SmallVector<Value> scaled;
        for (Value o : out)
          scaled.push_back(arith::MulFOp::create(b, o, step.decay));
        scf::YieldOp::create(b, scaled);
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, out); });
  llvm::copy(ifOp.getResults(), out.begin());
}

State SynchronousFragments::turn(State state, const Turn &turn, Value keys,
                                 Value values) {
  turn.copyNext();
  Softmax step = softmax(state, turn.scores(products(keys, turn.keyRow)));
  rescale(state.out, step);
  accumulate(state.out, step.weights, values, turn.valueRow);
  turn.release();
  return state;
}
