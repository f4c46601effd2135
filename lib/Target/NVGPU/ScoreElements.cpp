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
    score = shape.softcap ? cap(score)
                          : arith::MulFOp::create(b, score, splat(shape.scale));
    // Minus infinity masks, as everywhere.
    if (!arguments.biases.empty())
      score =
          arith::MaximumFOp::create(b, biased(score, at, n), splat(kMasked));
  }
  return result;
}

/// c tanh(x / c) = c - 2c / (1 + exp(2x / c)), which is exact at both ends; its
/// error is that of exp, while the machine's own tanh is good to 11 bits.
Value ScoreElements::cap(Value score) {
  float c = *shape.softcap;
  float factor = shape.scale * 2 / c * static_cast<float>(M_LOG2E);
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

/// Keys past the ends repeat the first and the last one and are masked.
Value ScoreElements::rowOfKey(const TilePlace &at, Value number) {
  Value row = views.keyRow(at.piece, at.places, a.min(number, at.last));
  return at.beginsBefore ? a.max(row, a.c(0)) : row;
}

/// The 16x8 scores n of a tile and their biases.
Value ScoreElements::biased(Value score, const TilePlace &at, int64_t n) {
  std::array<Value, 2> keyRows;
  for (int64_t j = 0; j < 2; ++j)
    keyRows[j] = rowOfKey(at, a.add(at.from, a.add(pair, a.c(8 * n + j))));
  for (auto [bias, perKey] : llvm::zip(arguments.biases, shape.biasPerKey)) {
    bool isShared = perKey && rows[0].head == rows[1].head;
    SmallVector<Value> elements;
    for (const Row &row : rows)
      for (Value keyRow : keyRows)
        elements.push_back(isShared && elements.size() >= 2
                               ? elements[elements.size() - 2]
                               : biasOf(bias, row, keyRow));
    score = arith::AddFOp::create(
        b, score, vector::FromElementsOp::create(b, tile, elements));
  }
  return score;
}

Value ScoreElements::biasOf(Value bias, const Row &row, Value keyRow) {
  auto clamp = [&](Value at, unsigned i) -> Value {
    // A dimension of size one is broadcast.
    Value size = memref::DimOp::create(b, bias, i);
    return a.min(at, a.sub(size, a.c(1)));
  };
  SmallVector<Value> at = {clamp(row.batch, 0), clamp(row.head, 1),
                           clamp(row.number, 2), clamp(keyRow, 3)};
  return memref::LoadOp::create(b, bias, at);
}

/// Whether the test holds for a key and one of the lane's rows, as an index.
Value ScoreElements::holds(const TilePlace &at, Value number, Value row) {
  Value position = views.positionOf(row);
  ExprLeaves leaves = views.leaves(position);
  leaves.key = views.positionOfKey(rowOfKey(at, number));
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
  return emitFor(
      b, a.c(0), a.c(columns / 2), 1, ValueRange{none},
      [&](Value element, ValueRange so) -> SmallVector<Value> {
        Value column = a.add(a.mul(a.div(element, a.c(4)), a.c(8)),
                             a.rem(element, a.c(2)));
        Value isSecond = a.lt(a.c(1), a.rem(element, a.c(4)));
        Value number = a.add(at.from, a.add(pair, column));
        Value bit = arith::IndexCastOp::create(
            b, i32,
            holds(at, number,
                  a.select(isSecond, rows[1].number, rows[0].number)));
        Value place = arith::IndexCastOp::create(b, i32, element);
        bit = arith::ShLIOp::create(b, bit, place);
        return {arith::OrIOp::create(b, so[0], bit)};
      })[0];
}

SmallVector<Value> ScoreElements::mask(ValueRange scores, const TilePlace &at,
                                       Value tested, Value low, Value high) {
  Value bits;
  if (tested)
    bits = vector::BroadcastOp::create(b, ints, tested);
  // Bounds in numbers of the lane's first column: columns are constants.
  Value first = vector::BroadcastOp::create(
      b, ints,
      arith::IndexCastOp::create(b, b.getI32Type(), a.add(at.from, pair)));
  for (Value *bound : {&low, &high})
    if (*bound)
      *bound = arith::SubIOp::create(b, *bound, first);
  Value masked = splat(kMasked);
  SmallVector<Value> result;
  for (auto [n, score] : llvm::enumerate(scores)) {
    int32_t step = 8 * n;
    Value key = constants({step, step + 1, step, step + 1});
    Value keep;
    auto require = [&](Value holds) {
      keep = keep ? a.both(keep, holds) : holds;
    };
    if (low)
      require(arith::CmpIOp::create(b, Predicate::sge, key, low));
    if (high)
      require(arith::CmpIOp::create(b, Predicate::slt, key, high));
    if (bits) {
      SmallVector<int32_t> own;
      for (uint32_t i = 0; i < 4; ++i)
        own.push_back(static_cast<int32_t>(1u << (4 * n + i)));
      Value set = arith::AndIOp::create(b, bits, constants(own));
      require(arith::CmpIOp::create(b, Predicate::ne, set,
                                    constants({0, 0, 0, 0})));
    }
    result.push_back(a.select(keep, score, masked));
  }
  return result;
}
