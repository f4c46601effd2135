//===- KernelBlock.cpp - one block of keys --------------------------------===//

#include "KernelBlock.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx::cpu;

BlockBuffers::BlockBuffers(ImplicitLocOpBuilder &b, const KernelShape &shape,
                           int64_t vectors)
    : vectors(vectors), rows(vectors * shape.lanes),
      vector(VectorType::get({shape.lanes}, b.getF32Type())) {
  auto scratch = [&](ArrayRef<int64_t> dims, Type type) -> Value {
    return memref::AllocaOp::create(b, MemRefType::get(dims, type),
                                    b.getI64IntegerAttr(64));
  };
  Type f32 = b.getF32Type(), i32 = b.getI32Type(), index = b.getIndexType();
  queries = scratch({shape.headDim, rows}, f32);
  acc = scratch({shape.valueDim, rows}, f32);
  scores = scratch({kBlockKeys, rows}, f32);
  allowed = scratch({kBlockKeys, rows}, i32);
  biases = scratch({kBlockKeys, rows}, f32);
  rowOf = scratch({rows}, index);
  low = scratch({rows}, i32);
  high = scratch({rows}, i32);
  inverse = scratch({rows}, f32);
  total = scratch({rows}, f32);
  keyRow = scratch({kBlockKeys}, index);
  keyAt = scratch({kBlockKeys}, index);
  valueAt = scratch({kBlockKeys}, index);
}

/// The rows of one head as one flat run of elements.
static std::pair<Value, Value> flatten(ImplicitLocOpBuilder &b, Value tensor,
                                       Value batch, Value head) {
  Arith a{b};
  auto data = memref::ExtractStridedMetadataOp::create(b, tensor);
  ValueRange strides = data.getStrides();
  Value offset = a.add(data.getOffset(), a.add(a.mul(batch, strides[0]),
                                               a.mul(head, strides[1])));
  Type element = cast<MemRefType>(tensor.getType()).getElementType();
  auto type = MemRefType::get(
      {ShapedType::kDynamic}, element,
      StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, {1}));
  // The size is not used: rows are addressed by what keyRows computes.
  Value size = a.c(INT32_MAX);
  Value flat = memref::ReinterpretCastOp::create(
      b, type, data.getBaseBuffer(), OpFoldResult(offset),
      ArrayRef<OpFoldResult>{size}, ArrayRef<OpFoldResult>{b.getIndexAttr(1)});
  return {flat, strides[2]};
}

void BlockBuffers::bindRows(ImplicitLocOpBuilder &b, Value key, Value value,
                            Value batch, Value head) {
  std::tie(keyData, keyStride) = flatten(b, key, batch, head);
  std::tie(valueData, valueStride) = flatten(b, value, batch, head);
}

/// Rows of keys whose sums are held in registers: sixteen accumulators in all.
int64_t KeyBlock::keysAtOnce() const { return 16 / buffers.vectors; }

Value KeyBlock::loadVector(Value from, Value row, int64_t g) {
  return vector::LoadOp::create(b, buffers.vector, from,
                                ValueRange{row, a.c(g * shape.lanes)});
}

SmallVector<Value> KeyBlock::emit(ValueRange state,
                                  const ElementContext *element) {
  int64_t vectors = buffers.vectors;
  ValueRange maxima = state.take_front(vectors);
  SmallVector<Value> sums(state.drop_front(vectors));
  Value count = a.c(kBlockKeys);
  if (element) {
    // The last block need not be whole: as many rows as are summed at once.
    Value left = a.min(a.sub(end, from), count);
    Value step = a.c(keysAtOnce());
    count = a.mul(a.ceilDiv(left, step), step);
  }
  SmallVector<Value> tops = scores(maxima, count, !element);
  if (element)
    tops = adjust(maxima, count, *element);
  SmallVector<Value> decay;
  for (int64_t g = 0; g < vectors; ++g) {
    Value difference = arith::SubFOp::create(b, maxima[g], tops[g]);
    decay.push_back(emitExp2(b, difference));
    sums[g] = arith::MulFOp::create(b, sums[g], decay[g]);
  }
  sums = exponentials(sums, tops, count, element != nullptr);
  accumulate(decay, count);
  tops.append(sums);
  return tops;
}

/// S = K Qt into `scores`; returns the maxima of each lane where asked.
SmallVector<Value> KeyBlock::scores(ValueRange maxima, Value count,
                                    bool keepMax) {
  int64_t vectors = buffers.vectors, rows = keysAtOnce();
  Value zero = a.splat(0.0f, buffers.vector);
  SmallVector<Value> init;
  if (keepMax)
    init.append(maxima.begin(), maxima.end());
  auto fast = arith::FastMathFlags::nnan | arith::FastMathFlags::nsz;
  return emitFor(
      b, a.c(0), count, rows, init,
      [&](Value n, ValueRange tops) -> SmallVector<Value> {
        SmallVector<Value> at;
        for (int64_t r = 0; r < rows; ++r)
          at.push_back(
              memref::LoadOp::create(b, buffers.keyAt, a.add(n, a.c(r))));
        SmallVector<Value> sums = emitFor(
            b, a.c(0), a.c(shape.headDim), 1,
            SmallVector<Value>(rows * vectors, zero),
            [&](Value d, ValueRange acc) -> SmallVector<Value> {
              SmallVector<Value> q, next;
              for (int64_t g = 0; g < vectors; ++g)
                q.push_back(loadVector(buffers.queries, d, g));
              for (int64_t r = 0; r < rows; ++r) {
                Value k =
                    memref::LoadOp::create(b, buffers.keyData, a.add(at[r], d));
                k = vector::BroadcastOp::create(b, buffers.vector, toF32(b, k));
                for (int64_t g = 0; g < vectors; ++g)
                  next.push_back(
                      vector::FMAOp::create(b, k, q[g], acc[r * vectors + g]));
              }
              return next;
            });
        SmallVector<Value> result(tops);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t g = 0; g < vectors; ++g) {
            Value s = sums[r * vectors + g];
            vector::StoreOp::create(
                b, s, buffers.scores,
                ValueRange{a.add(n, a.c(r)), a.c(g * shape.lanes)});
            if (keepMax)
              result[g] = arith::MaximumFOp::create(b, result[g], s, fast);
          }
        return result;
      });
}

/// Fills `allowed` and `biases`, element by element.
void KeyBlock::evaluateElements(Value count, const ElementContext &element) {
  if (!element.test && !element.bias)
    return;
  SmallVector<Value> biasDims;
  if (element.bias)
    for (int64_t i = 0; i < 4; ++i)
      biasDims.push_back(memref::DimOp::create(b, element.bias, i));
  auto clamp = [&](Value at, unsigned i) -> Value {
    // A dimension of size one is broadcast.
    return a.min(at, a.sub(biasDims[i], a.c(1)));
  };
  emitFor(b, a.c(0), count, 1, [&](Value n) {
    Value row = memref::LoadOp::create(b, buffers.keyRow, n);
    Value k = a.add(a.mul(row, a.c(shape.keyStep)), element.keyOffset);
    emitFor(b, a.c(0), a.c(buffers.rows), 1, [&](Value lane) {
      Value queryRow = memref::LoadOp::create(b, buffers.rowOf, lane);
      SmallVector<Value> at = {n, lane};
      if (element.test) {
        ExprLeaves leaves = element.leaves;
        leaves.key = k;
        leaves.position =
            a.add(a.mul(queryRow, a.c(shape.queryStep)), element.queryOffset);
        Value holds = emitExpr(b, element.test, leaves);
        holds = arith::IndexCastOp::create(b, b.getI32Type(), holds);
        memref::StoreOp::create(b, holds, buffers.allowed, at);
      }
      if (element.bias) {
        Value x = memref::LoadOp::create(
            b, element.bias,
            ValueRange{clamp(element.leaves.batch, 0),
                       clamp(element.leaves.head, 1), clamp(queryRow, 2),
                       clamp(row, 3)});
        x = arith::MulFOp::create(b, x, a.f32(static_cast<float>(M_LOG2E)));
        memref::StoreOp::create(b, x, buffers.biases, at);
      }
    });
  });
}

/// Softcap, bias and masks on `scores`; returns the new maxima.
SmallVector<Value> KeyBlock::adjust(ValueRange maxima, Value count,
                                    const ElementContext &element) {
  evaluateElements(count, element);
  int64_t vectors = buffers.vectors;
  auto ints = VectorType::get({shape.lanes}, b.getI32Type());
  auto fast = arith::FastMathFlags::nnan | arith::FastMathFlags::nsz;
  auto intVector = [&](Value from, ValueRange at) -> Value {
    return vector::LoadOp::create(b, ints, from, at);
  };
  SmallVector<Value> low, high;
  for (int64_t g = 0; g < vectors; ++g) {
    low.push_back(intVector(buffers.low, a.c(g * shape.lanes)));
    high.push_back(intVector(buffers.high, a.c(g * shape.lanes)));
  }
  Value masked = a.splat(kMasked, buffers.vector);
  Value none = arith::ConstantOp::create(
      b, DenseElementsAttr::get(ints, b.getI32IntegerAttr(0)));
  using Predicate = arith::CmpIPredicate;
  return emitFor(
      b, a.c(0), count, 1, maxima,
      [&](Value n, ValueRange tops) -> SmallVector<Value> {
        Value number =
            arith::IndexCastOp::create(b, b.getI32Type(), a.add(from, n));
        number = vector::BroadcastOp::create(b, ints, number);
        SmallVector<Value> result;
        for (int64_t g = 0; g < vectors; ++g) {
          SmallVector<Value> at = {n, a.c(g * shape.lanes)};
          Value s = loadVector(buffers.scores, n, g);
          if (shape.softcap) {
            float cap = *shape.softcap * static_cast<float>(M_LOG2E);
            Value t = arith::MulFOp::create(
                b, s, a.splat(1.0f / cap, buffers.vector));
            s = arith::MulFOp::create(b, math::TanhOp::create(b, t),
                                      a.splat(cap, buffers.vector));
          }
          if (element.bias) {
            s = arith::AddFOp::create(b, s, loadVector(buffers.biases, n, g));
            // Minus infinity masks, as everywhere.
            s = arith::MaximumFOp::create(b, s, masked, fast);
          }
          Value keep =
              a.both(arith::CmpIOp::create(b, Predicate::sge, number, low[g]),
                     arith::CmpIOp::create(b, Predicate::slt, number, high[g]));
          if (element.test)
            keep = a.both(keep, arith::CmpIOp::create(
                                    b, Predicate::ne,
                                    intVector(buffers.allowed, at), none));
          s = a.select(keep, s, masked);
          vector::StoreOp::create(b, s, buffers.scores, at);
          result.push_back(arith::MaximumFOp::create(b, tops[g], s, fast));
        }
        return result;
      });
}

/// P = exp2(S - max) in place; returns the sums.
SmallVector<Value> KeyBlock::exponentials(ValueRange sums, ValueRange maxima,
                                          Value count, bool guard) {
  Value zero = a.splat(0.0f, buffers.vector);
  Value bottom = a.splat(kMasked / 2, buffers.vector);
  return emitFor(
      b, a.c(0), count, 1, sums,
      [&](Value n, ValueRange so) -> SmallVector<Value> {
        SmallVector<Value> result;
        for (int64_t g = 0; g < buffers.vectors; ++g) {
          Value s = loadVector(buffers.scores, n, g);
          Value p = emitExp2(b, arith::SubFOp::create(b, s, maxima[g]));
          if (guard) {
            Value some =
                arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, s, bottom);
            p = a.select(some, p, zero);
          }
          vector::StoreOp::create(b, p, buffers.scores,
                                  ValueRange{n, a.c(g * shape.lanes)});
          result.push_back(arith::AddFOp::create(b, so[g], p));
        }
        return result;
      });
}

/// acc = acc * decay + V^T P.
void KeyBlock::accumulate(ValueRange decay, Value count) {
  int64_t columns = keysAtOnce();
  int64_t whole = shape.valueDim / columns * columns;
  emitFor(b, a.c(0), a.c(whole), columns,
          [&](Value d) { accumulateRows(decay, count, d, columns); });
  if (whole != shape.valueDim)
    emitFor(b, a.c(whole), a.c(shape.valueDim), 1,
            [&](Value d) { accumulateRows(decay, count, d, 1); });
}

void KeyBlock::accumulateRows(ValueRange decay, Value count, Value d,
                              int64_t columns) {
  int64_t vectors = buffers.vectors;
  SmallVector<Value> init, places;
  for (int64_t r = 0; r < columns; ++r) {
    places.push_back(a.add(d, a.c(r)));
    for (int64_t g = 0; g < vectors; ++g)
      init.push_back(arith::MulFOp::create(
          b, loadVector(buffers.acc, places[r], g), decay[g]));
  }
  SmallVector<Value> sums = emitFor(
      b, a.c(0), count, 1, init,
      [&](Value n, ValueRange acc) -> SmallVector<Value> {
        Value at = memref::LoadOp::create(b, buffers.valueAt, n);
        SmallVector<Value> p, next;
        for (int64_t g = 0; g < vectors; ++g)
          p.push_back(loadVector(buffers.scores, n, g));
        for (int64_t r = 0; r < columns; ++r) {
          Value v = memref::LoadOp::create(b, buffers.valueData,
                                           a.add(at, places[r]));
          v = vector::BroadcastOp::create(b, buffers.vector, toF32(b, v));
          for (int64_t g = 0; g < vectors; ++g)
            next.push_back(
                vector::FMAOp::create(b, v, p[g], acc[r * vectors + g]));
        }
        return next;
      });
  for (int64_t r = 0; r < columns; ++r)
    for (int64_t g = 0; g < vectors; ++g)
      vector::StoreOp::create(b, sums[r * vectors + g], buffers.acc,
                              ValueRange{places[r], a.c(g * shape.lanes)});
}
