//===- Fragments.cpp - the softmax step -----------------------------------===//

#include "Fragments.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

SmallVector<Value> State::pack() const {
  SmallVector<Value> values;
  if (max)
    values = {max, sum};
  values.append(out);
  values.append(due);
  return values;
}

State State::unpack(ValueRange values) const {
  State state;
  if (max) {
    state.max = values[0];
    state.sum = values[1];
    values = values.drop_front(2);
  }
  state.out.assign(values.begin(), values.begin() + out.size());
  state.due.assign(values.begin() + out.size(), values.end());
  return state;
}

std::unique_ptr<Fragments> Fragments::create(ImplicitLocOpBuilder &b,
                                             const AttentionShape &shape,
                                             const Tiling &tiling, Value lane,
                                             Value warp) {
  if (shape.result != KernelResult::Attention)
    return createQueryGradientFragments(b, shape, tiling, lane, warp);
  if (tiling.product == nvx::Product::wgmma)
    return createWgmmaFragments(b, shape, tiling, lane, warp);
  return std::make_unique<SynchronousFragments>(b, shape, tiling, lane, warp);
}

Fragments::Fragments(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                     const Tiling &tiling, Value lane, Value warp)
    : b(b), a{b}, shape(shape), tiling(tiling), lane(lane), warp(warp),
      tile(VectorType::get({2, 2}, b.getF32Type())),
      rows(VectorType::get({2}, b.getF32Type())) {}

Value Fragments::splat(float value) { return a.splat(value, tile); }

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
  Value safe = a.select(greater(best, of(kMasked)), best, of(0.0f));
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

SynchronousFragments::SynchronousFragments(ImplicitLocOpBuilder &b,
                                           const AttentionShape &shape,
                                           const Tiling &tiling, Value lane,
                                           Value warp)
    : Fragments(b, shape, tiling, lane, warp),
      products(
          WarpProducts::create(b, shape.element, tiling.product, lane, warp)) {}

void SynchronousFragments::bind(const BlockOperands &rows) {
  queries =
      products->bind(rows.query, tiling.queryTile, tiling.queriesInRegisters);
}

State SynchronousFragments::turn(State state, const Turn &turn, Value keys,
                                 Value values) {
  turn.copyNext();
  Softmax step = softmax(
      state, turn.scores(products->multiply(queries, keys, tiling.keyTile,
                                            turn.keyRow, tiling.keys)));
  rescale(state.out, step);
  products->accumulate(state.out, step.weights, values, tiling.valueTile,
                       turn.valueRow);
  turn.release();
  return state;
}
