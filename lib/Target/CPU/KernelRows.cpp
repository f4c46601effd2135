//===- KernelRows.cpp - rows in and out of a task's lanes -----------------===//

#include "KernelRows.h"
#include "LaneRows.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

void TaskRows::load(KernelParts &parts, Value query) {
  std::string key = "load " + shape.tileKey(buffers.form);
  llvm::raw_string_ostream(key) << ' ' << shape.scale;
  parts.call(b, key, {buffers.scratch, query, batch},
             [&](ValueRange arguments) {
               BlockBuffers own(b, shape, buffers.form, arguments[0]);
               TaskRows(b, shape, own, arguments[2]).loadBody(arguments[1]);
             });
}

void TaskRows::loadBody(Value query) {
  LaneRows(b, buffers.vector, buffers.rowOf, buffers.headOf)
      .load({query, batch, shape.headDim}, buffers.form.queryFactor(),
            buffers.queries);
}

/// Batch, head and row.
SmallVector<Value> TaskRows::rowAt(Value lane) {
  Value head = memref::LoadOp::create(b, buffers.headOf, lane);
  Value row = memref::LoadOp::create(b, buffers.rowOf, lane);
  return {batch, head, row};
}

/// `inverse` and `total` of each lane. A maximum is a logarithm to base 2. The
/// sum of scores of which one is no number is none; so are the row's results.
void TaskRows::weights() {
  VectorType type = buffers.vector;
  Value least = a.splat(-std::numeric_limits<float>::infinity(), type);
  Value zero = a.splat(0.0f, type), one = a.splat(1.0f, type);
  for (int64_t g = 0; g < buffers.form.vectors; ++g) {
    Value at = a.c(g * shape.lanes);
    Value top = vector::LoadOp::create(b, type, buffers.top, at);
    Value sum = vector::LoadOp::create(b, type, buffers.sum, at);
    Value some = arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, sum, zero);
    Value inverse = a.select(some, arith::DivFOp::create(b, one, sum), zero);
    Value natural =
        arith::MulFOp::create(b, top, a.splat(static_cast<float>(M_LN2), type));
    Value logSum = math::LogOp::create(b, a.select(some, sum, one));
    Value total = arith::AddFOp::create(b, natural, logSum);
    vector::StoreOp::create(b, inverse, buffers.inverse, at);
    vector::StoreOp::create(b, a.select(some, total, least), buffers.total, at);
  }
}

/// Merges `total` with the log-sum-exp of what was there; `inverse` becomes the
/// weight of the new values and `old` that of the old ones.
void TaskRows::mergeWeights(Value lse) {
  emitFor(b, a.c(0), a.c(buffers.rows), 1, [&](Value lane) {
    Value x = memref::LoadOp::create(b, lse, rowAt(lane));
    memref::StoreOp::create(b, x, buffers.old, lane);
  });
  VectorType type = buffers.vector;
  Value zero = a.splat(0.0f, type), one = a.splat(1.0f, type);
  Value least = a.splat(-std::numeric_limits<float>::infinity(), type);
  emitFor(b, a.c(0), a.c(buffers.rows), shape.lanes, [&](Value lane) {
    auto load = [&](Value from) -> Value {
      return vector::LoadOp::create(b, type, from, lane);
    };
    auto store = [&](Value x, Value to) {
      vector::StoreOp::create(b, x, to, lane);
    };
    Value before = load(buffers.old), now = load(buffers.total);
    // Both empty: any finite top keeps the difference from being NaN.
    Value top = a.fmax(a.fmax(before, now), a.splat(kLeastTop, type));
    auto share = [&](Value x) -> Value {
      return math::ExpOp::create(b, arith::SubFOp::create(b, x, top));
    };
    Value oldShare = share(before), newShare = share(now);
    Value sum = arith::AddFOp::create(b, oldShare, newShare);
    Value some = arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, sum, zero);
    sum = a.select(some, sum, one);
    Value total = arith::AddFOp::create(b, top, math::LogOp::create(b, sum));
    store(a.select(some, total, least), buffers.total);
    Value newWeight = arith::DivFOp::create(b, newShare, sum);
    store(arith::MulFOp::create(b, load(buffers.inverse), newWeight),
          buffers.inverse);
    store(arith::DivFOp::create(b, oldShare, sum), buffers.old);
  });
}

/// Calls what stores rows in `out` and something of each in `perRow`; `body`,
/// given the rows of its own arguments and out, per row and valid, emits it.
void TaskRows::call(KernelParts &parts, StringRef key, Value out, Value perRow,
                    Value valid,
                    function_ref<void(TaskRows &, ValueRange)> body) {
  // Rows may lie in memory in any way.
  auto generic = [&](Value tensor) -> Value {
    auto own = cast<MemRefType>(tensor.getType());
    SmallVector<int64_t> dims(own.getShape());
    std::fill_n(dims.begin(), 3, ShapedType::kDynamic);
    MemRefType type =
        stridedType(dims, own.getElementType(), /*unitLast=*/true);
    if (own == type)
      return tensor;
    return memref::CastOp::create(b, type, tensor);
  };
  parts.call(b, (key + " " + shape.tileKey(buffers.form)).str(),
             {buffers.scratch, generic(out), generic(perRow), valid, batch},
             [&](ValueRange arguments) {
               BlockBuffers own(b, shape, buffers.form, arguments[0]);
               TaskRows rows(b, shape, own, arguments[4]);
               body(rows, arguments.slice(1, 3));
             });
}

void TaskRows::store(KernelParts &parts, Value out, Value lse, Value valid) {
  call(parts, shape.accumulate ? "merge" : "store", out, lse, valid,
       [&](TaskRows &rows, ValueRange arguments) {
         Value lse = arguments[1];
         rows.weights();
         if (shape.accumulate)
           rows.mergeWeights(lse);
         rows.storeBody(arguments[0], arguments[2], [&](Value lane) {
           Value total = memref::LoadOp::create(b, rows.buffers.total, lane);
           memref::StoreOp::create(b, total, lse, rows.rowAt(lane));
         });
       });
}

void TaskRows::storePart(KernelParts &parts, Value out, Value statistics,
                         Value valid) {
  call(parts, "part", out, statistics, valid,
       [&](TaskRows &rows, ValueRange arguments) {
         rows.weights();
         rows.storeBody(arguments[0], arguments[2], [&](Value lane) {
           SmallVector<Value> at = rows.rowAt(lane);
           at.push_back(Value());
           auto store = [&](Value from, int64_t i) {
             at.back() = a.c(i);
             Value x = memref::LoadOp::create(b, from, lane);
             memref::StoreOp::create(b, x, arguments[1], at);
           };
           store(rows.buffers.top, 0);
           store(rows.buffers.sum, 1);
         });
       });
}

/// Each of the first `valid` lanes' rows, and of each what `storeRow` does.
void TaskRows::storeBody(Value out, Value valid,
                         function_ref<void(Value)> storeRow) {
  LaneRows lanes(b, buffers.vector, buffers.rowOf, buffers.headOf);
  BatchOf to{out, batch, shape.valueDim};
  emitFor(b, a.c(0), valid, shape.lanes, [&](Value first) {
    lanes.turn(buffers.acc, shape.valueDim, first, buffers.inverse,
               buffers.turned);
    Value end = a.min(a.add(first, a.c(shape.lanes)), valid);
    emitFor(b, first, end, 1, [&](Value lane) {
      Value oldWeight;
      if (shape.accumulate)
        oldWeight = memref::LoadOp::create(b, buffers.old, lane);
      lanes.store(buffers.turned, a.sub(lane, first), to, lane, oldWeight);
      storeRow(lane);
    });
  });
}
