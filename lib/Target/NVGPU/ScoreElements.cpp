//===- ScoreElements.cpp - what else a score depends on -------------------===//

#include "ScoreElements.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;
using Predicate = arith::CmpIPredicate;

ScoreElements::ScoreElements(ImplicitLocOpBuilder &b,
                             const AttentionShape &shape, const KeyViews &views,
                             const KernelArguments &arguments, Value lane,
                             std::array<Row, 2> rows)
    : b(b), a{b}, shape(shape), views(views), arguments(arguments),
      rowsAreKeys(shape.result == KernelResult::KeyGradient),
      pair(a.mul(a.rem(lane, a.c(4)), a.c(2))), rows(rows),
      tile(VectorType::get({2, 2}, b.getF32Type())),
      ints(VectorType::get({2, 2}, b.getI32Type())) {}

Value ScoreElements::constants(ArrayRef<int32_t> values) {
  return arith::ConstantOp::create(b, DenseElementsAttr::get(ints, values));
}

SmallVector<Value> ScoreElements::adjust(ValueRange scores,
                                         const TilePlace &at) {
  SmallVector<Value> result(scores);
  if (!scalesScores(shape))
    return result;
  for (auto [n, score] : llvm::enumerate(result)) {
    score = shape.softcap ? cappedScore(b, shape, score)
                          : arith::MulFOp::create(b, score, splat(shape.scale));
    if (!arguments.biases.empty())
      score = biased(score, at, n);
  }
  return result;
}

/// c tanh(x / c) = c - 2c / (1 + exp(2x / c)), which is exact at both ends; its
/// error is that of exp, while the machine's own tanh is good to 11 bits.
Value mlir::megactx::nvgpu::cappedScore(ImplicitLocOpBuilder &b,
                                        const AttentionShape &shape,
                                        Value score) {
  float c = *shape.softcap;
  float factor = shape.scale * 2 / c * static_cast<float>(M_LOG2E);
  auto tile = cast<VectorType>(score.getType());
  auto splat = [&](float value) { return Arith{b}.splat(value, tile); };
  Value power =
      nvx::Exp2Op::create(b, arith::MulFOp::create(b, score, splat(factor)));
  Value sum = arith::AddFOp::create(b, power, splat(1.0f));
  SmallVector<Value> inverse;
  for (Value x : vector::ToElementsOp::create(b, sum).getResults())
    inverse.push_back(NVVM::RcpApproxFtzF32Op::create(b, b.getF32Type(), x));
  return vector::FMAOp::create(b,
                               vector::FromElementsOp::create(b, tile, inverse),
                               splat(-2 * c), splat(c));
}

ScoreElements::Pair ScoreElements::pairOf(int64_t half, Value columnRow) const {
  const Row &own = rows[half];
  if (rowsAreKeys)
    return {{own.batch, own.head, columnRow}, own.number};
  return {own, columnRow};
}

std::array<Value, 2> ScoreElements::columnRows(const TilePlace &at,
                                               int64_t n) const {
  auto rowOf = [&](int64_t column) {
    return at.rowOf(a.add(at.from, a.add(pair, a.c(column))));
  };
  return {rowOf(8 * n), rowOf(8 * n + 1)};
}

/// The 16x8 scores n of a tile and their biases.
Value ScoreElements::biased(Value score, const TilePlace &at, int64_t n) {
  std::array<Value, 2> columnRows = this->columnRows(at, n);
  for (auto [bias, perKey] : llvm::zip(arguments.biases, shape.biasPerKey)) {
    bool isShared = perKey && rows[0].head == rows[1].head;
    std::array<Value, 2> ofKey;
    SmallVector<Value> elements;
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t j = 0; j < 2; ++j) {
        Value &known = ofKey[rowsAreKeys ? i : j];
        if (!isShared || !known)
          known = biasOf(bias, pairOf(i, columnRows[j]));
        elements.push_back(known);
      }
    score = arith::AddFOp::create(
        b, score, vector::FromElementsOp::create(b, tile, elements));
  }
  return score;
}

Value mlir::megactx::nvgpu::indexInBias(ImplicitLocOpBuilder &b, Value bias,
                                        int64_t dim, Value at) {
  Arith a{b};
  Value size = memref::DimOp::create(b, bias, dim);
  return a.min(at, a.sub(size, a.c(1)));
}

Value ScoreElements::biasOf(Value bias, const Pair &pair) {
  SmallVector<Value> at = {pair.query.batch, pair.query.head, pair.query.number,
                           pair.key};
  for (auto [dim, index] : llvm::enumerate(at))
    index = indexInBias(b, bias, dim, index);
  return memref::LoadOp::create(b, bias, at);
}

/// Whether the test holds for a column and one of the lane's rows, as an index.
Value ScoreElements::holds(const TilePlace &at, Value number, Value isSecond) {
  Value own = a.select(isSecond, rows[1].number, rows[0].number);
  Value query = own, key = at.rowOf(number);
  if (rowsAreKeys)
    std::swap(query, key);
  ExprLeaves leaves = views.leaves(views.positionOf(query));
  leaves.key = views.positionOfKey(key);
  return emitExpr(b, shape.pieces[at.piece].test, leaves);
}

Value ScoreElements::test(const TilePlace &at, int64_t columns,
                          Value isAllowed) {
  if (!shape.pieces[at.piece].test)
    return {};
  if (!isAllowed)
    return testEach(at, columns);
  auto ifOp = scf::IfOp::create(
      b, isAllowed,
      [&](OpBuilder &, Location) {
        Value all = arith::ConstantIntOp::create(b, -1, 32);
        scf::YieldOp::create(b, all);
      },
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, testEach(at, columns));
      });
  return ifOp.getResult(0);
}

/// A loop, not 32 copies of the test: registers have no addresses, bits do.
Value ScoreElements::testEach(const TilePlace &at, int64_t columns) {
  Type i32 = b.getI32Type();
  Value none = arith::ConstantIntOp::create(b, 0, 32);
  return emitFor(b, a.c(0), a.c(columns / 2), 1, ValueRange{none},
                 [&](Value element, ValueRange so) -> SmallVector<Value> {
                   Value column = a.add(a.mul(a.div(element, a.c(4)), a.c(8)),
                                        a.rem(element, a.c(2)));
                   Value isSecond = a.lt(a.c(1), a.rem(element, a.c(4)));
                   Value number = a.add(at.from, a.add(pair, column));
                   Value bit = arith::IndexCastOp::create(
                       b, i32, holds(at, number, isSecond));
                   Value place = arith::IndexCastOp::create(b, i32, element);
                   bit = arith::ShLIOp::create(b, bit, place);
                   return {arith::OrIOp::create(b, so[0], bit)};
                 })[0];
}

/// Bounds in numbers of the lane's first column: columns are constants.
ScoreElements::Within ScoreElements::between(Value from, Value low,
                                             Value high) {
  Value first = vector::BroadcastOp::create(
      b, ints,
      arith::IndexCastOp::create(b, b.getI32Type(), a.add(from, pair)));
  for (Value *bound : {&low, &high})
    if (*bound)
      *bound = arith::SubIOp::create(b, *bound, first);
  return [this, low, high](int64_t n) {
    int32_t step = 8 * n;
    Value column = constants({step, step + 1, step, step + 1}), keep;
    if (low)
      keep = arith::CmpIOp::create(b, Predicate::sge, column, low);
    if (high) {
      Value isBelow = arith::CmpIOp::create(b, Predicate::slt, column, high);
      keep = keep ? a.both(keep, isBelow) : isBelow;
    }
    return keep;
  };
}

SmallVector<Value> ScoreElements::mask(ValueRange scores, Value tested,
                                       const Within &within) {
  Value bits;
  if (tested)
    bits = vector::BroadcastOp::create(b, ints, tested);
  Value masked = splat(kMasked);
  SmallVector<Value> result;
  for (auto [n, score] : llvm::enumerate(scores)) {
    Value keep = within(n);
    if (bits) {
      SmallVector<int32_t> own;
      for (uint32_t i = 0; i < 4; ++i)
        own.push_back(static_cast<int32_t>(1u << (4 * n + i)));
      Value set = arith::AndIOp::create(b, bits, constants(own));
      Value holds =
          arith::CmpIOp::create(b, Predicate::ne, set, constants({0, 0, 0, 0}));
      keep = keep ? a.both(keep, holds) : holds;
    }
    result.push_back(a.select(keep, score, masked));
  }
  return result;
}
