//===- KernelSplit.cpp - tasks that share a row's keys --------------------===//

#include "KernelSplit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

KeySplit::KeySplit(ImplicitLocOpBuilder &b, const KernelShape &shape,
                   Value query, Value keys, Value tasks)
    : b(b), a{b}, shape(shape), partial(shape), unsplit(tasks) {
  partial.element = b.getF32Type();
  partial.accumulate = false;
  auto dim = [&](int64_t i) -> Value {
    return memref::DimOp::create(b, query, i);
  };
  batches = dim(0);
  heads = dim(1);
  queries = dim(2);
  parts.count = KeyParts::countOf(a, tasks, kTasks, keys, kLeastKeys);
  // No part, no memory.
  Value rows = a.select(isSplit(), a.mul(parts.count, batches), a.c(0));
  SmallVector<Value> sizes = {rows, heads, queries};
  auto alignment = b.getI64IntegerAttr(64);
  partOut = memref::AllocOp::create(
      b, KeyParts::outType(b.getContext(), shape.valueDim), sizes, alignment);
  statistics = memref::AllocOp::create(
      b, KeyParts::statisticsType(b.getContext()), sizes, alignment);
  // Rows that no task has stay without keys.
  std::array<Value, 2> none = {a.f32(kLeastTop), a.f32(0)};
  emitFor(b, a.c(0), rows, 1, [&](Value i) {
    emitFor(b, a.c(0), heads, 1, [&](Value h) {
      emitFor(b, a.c(0), queries, 1, [&](Value q) {
        for (auto [which, x] : llvm::enumerate(none))
          memref::StoreOp::create(b, x, statistics,
                                  ValueRange{i, h, q, a.c(which)});
      });
    });
  });
}

Value KeySplit::enter(Value number) {
  parts.number = a.rem(number, parts.count);
  return a.div(number, parts.count);
}

void KeySplit::store(KernelParts &code, const BlockBuffers &buffers,
                     Value batch, Value out, Value lse, Value valid) {
  emitIf(
      b, isSplit(),
      [&] {
        Value at = KeyParts::place(a, parts.number, batches, batch);
        TaskRows(b, partial, buffers, at)
            .storePart(code, partOut, statistics, valid);
      },
      [&] { TaskRows(b, shape, buffers, batch).store(code, out, lse, valid); });
}

void KeySplit::merge(Value out, Value lse) {
  Value perBatch = a.mul(heads, queries);
  Value rows = a.select(isSplit(), a.mul(batches, perBatch), a.c(0));
  emitParallel(b, rows, [&](Value number) {
    Value inBatch = a.rem(number, perBatch);
    mergeRow(out, lse,
             {a.div(number, perBatch), a.div(inBatch, queries),
              a.rem(inBatch, queries)});
  });
  memref::DeallocOp::create(b, partOut);
  memref::DeallocOp::create(b, statistics);
}

/// The place of a row's part: row is batch, head, query.
SmallVector<Value> KeySplit::rowOf(Value i, ArrayRef<Value> row) const {
  SmallVector<Value> at(row);
  at[0] = KeyParts::place(a, i, batches, row[0]);
  return at;
}

/// Of part i of the row: 0, its largest score, or 1, the sum of its weights.
Value KeySplit::statistic(Value i, ArrayRef<Value> row, int64_t which) const {
  SmallVector<Value> at = rowOf(i, row);
  at.push_back(a.c(which));
  return memref::LoadOp::create(b, statistics, at);
}

/// What the weights of part i of the row add up to, relative to `top`.
Value KeySplit::weightOf(Value i, ArrayRef<Value> row, Value top) const {
  Value below = arith::SubFOp::create(b, statistic(i, row, 0), top);
  return arith::MulFOp::create(b, math::Exp2Op::create(b, below),
                               statistic(i, row, 1));
}

/// Merges the row's parts into `lse`.
KeySplit::Shares KeySplit::mergeStatistics(Value lse, ArrayRef<Value> row) {
  Value before;
  Value top = a.f32(kLeastTop);
  if (shape.accumulate) {
    before = memref::LoadOp::create(b, lse, row);
    before =
        arith::MulFOp::create(b, before, a.f32(static_cast<float>(M_LOG2E)));
    top = a.fmax(top, before);
  }
  top = emitFor(b, a.c(0), parts.count, 1, ValueRange{top},
                [&](Value i, ValueRange so) -> SmallVector<Value> {
                  return {a.fmax(so[0], statistic(i, row, 0))};
                })[0];
  Value kept;
  if (before)
    kept = math::Exp2Op::create(b, arith::SubFOp::create(b, before, top));
  Value sum =
      emitFor(b, a.c(0), parts.count, 1, ValueRange{kept ? kept : a.f32(0)},
              [&](Value i, ValueRange so) -> SmallVector<Value> {
                return {arith::AddFOp::create(b, so[0], weightOf(i, row, top))};
              })[0];
  Value some =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, sum, a.f32(0));
  sum = a.select(some, sum, a.f32(1));
  Value natural =
      arith::MulFOp::create(b, top, a.f32(static_cast<float>(M_LN2)));
  Value total = arith::AddFOp::create(b, natural, math::LogOp::create(b, sum));
  total = a.select(some, total, a.f32(-std::numeric_limits<float>::infinity()));
  memref::StoreOp::create(b, total, lse, row);
  if (kept)
    kept = arith::DivFOp::create(b, kept, sum);
  return {top, sum, kept};
}

void KeySplit::mergeRow(Value out, Value lse, ArrayRef<Value> row) {
  Shares shares = mergeStatistics(lse, row);
  Value acc = memref::AllocaOp::create(
      b, MemRefType::get({shape.valueDim}, b.getF32Type()),
      b.getI64IntegerAttr(64));
  auto scale = [&](Value x, Value factor, Type type) -> Value {
    if (isa<VectorType>(type))
      factor = vector::BroadcastOp::create(b, type, factor);
    return arith::MulFOp::create(b, x, factor);
  };
  auto inRow = [](ArrayRef<Value> row, Value d) {
    SmallVector<Value> at(row);
    at.push_back(d);
    return at;
  };
  eachColumn([&](Value d, Type type) {
    Value x = arith::ConstantOp::create(b, b.getZeroAttr(type));
    if (shares.kept)
      x = scale(loadF32(b, type, out, inRow(row, d)), shares.kept, type);
    storeF32(b, x, acc, d);
  });
  emitFor(b, a.c(0), parts.count, 1, [&](Value i) {
    SmallVector<Value> at = rowOf(i, row);
    Value share =
        arith::DivFOp::create(b, weightOf(i, row, shares.top), shares.sum);
    Value any =
        arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, share, a.f32(0));
    scf::IfOp::create(b, any, [&](OpBuilder &, Location) {
      eachColumn([&](Value d, Type type) {
        Value x = scale(loadF32(b, type, partOut, inRow(at, d)), share, type);
        storeF32(b, arith::AddFOp::create(b, x, loadF32(b, type, acc, d)), acc,
                 d);
      });
      scf::YieldOp::create(b);
    });
  });
  eachColumn([&](Value d, Type type) {
    storeF32(b, loadF32(b, type, acc, d), out, inRow(row, d));
  });
}

/// body(d, type): the columns [0, Dv) as vectors, the last few as scalars.
void KeySplit::eachColumn(function_ref<void(Value, Type)> body) {
  Type f32 = b.getF32Type();
  auto vector = VectorType::get({shape.lanes}, f32);
  int64_t whole = shape.valueDim / shape.lanes * shape.lanes;
  emitFor(b, a.c(0), a.c(whole), shape.lanes,
          [&](Value d) { body(d, vector); });
  emitFor(b, a.c(whole), a.c(shape.valueDim), 1,
          [&](Value d) { body(d, f32); });
}
