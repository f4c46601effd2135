//===- LaneProducts.cpp - rows in memory times rows in lanes --------------===//

#include "LaneProducts.h"
#include "Kernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

/// Turns of a loop of products at a time, beside which its counter is little.
static constexpr int64_t kTurns = 4;

Value LaneProducts::load(Value from, Value row, const LaneSpan &span,
                         int64_t g) {
  return vector::LoadOp::create(b, vector, from,
                                ValueRange{row, laneOf(span, g)});
}

void LaneProducts::store(Value x, Value to, Value row, const LaneSpan &span,
                         int64_t g) {
  vector::StoreOp::create(b, x, to, ValueRange{row, laneOf(span, g)});
}

Value LaneProducts::broadcast(const TableRows &rows, Value at) {
  Value x = memref::LoadOp::create(b, rows.data, at);
  return vector::BroadcastOp::create(b, vector, toF32(b, x));
}

Value LaneProducts::placeOf(const TableRows &rows, Value n) {
  if (!rows.at)
    return a.mul(n, a.c(rows.dim));
  return memref::LoadOp::create(b, rows.at, n);
}

TableRows LaneProducts::widen(const TableRows &rows, Value begin, Value end,
                              Value to) {
  if (getElementTypeOrSelf(rows.data).isF32())
    return rows;
  int64_t lanes = vector.getNumElements(), whole = rows.dim / lanes * lanes;
  TableRows wide{to, Value(), rows.dim};
  emitFor(b, begin, end, 1, [&](Value n) {
    Value from = placeOf(rows, n), at = placeOf(wide, n);
    auto copy = [&](Value d, Type type) {
      storeF32(b, loadF32(b, type, rows.data, a.add(from, d)), to,
               a.add(at, d));
    };
    for (int64_t d = 0; d < whole; d += lanes)
      copy(a.c(d), vector);
    emitFor(b, a.c(whole), a.c(rows.dim), 1,
            [&](Value d) { copy(d, b.getF32Type()); });
  });
  return wide;
}

SmallVector<Value> LaneProducts::products(const TableRows &rows, Value lanes,
                                          const LaneSpan &span, Value n,
                                          int64_t count) {
  SmallVector<Value> at;
  for (int64_t r = 0; r < count; ++r)
    at.push_back(placeOf(rows, a.add(n, a.c(r))));
  Value zero = a.splat(0.0f, vector);
  return emitUnrolledFor(
      b, a.c(0), a.c(rows.dim), kTurns,
      SmallVector<Value>(count * span.vectors, zero),
      [&](Value d, ValueRange acc) -> SmallVector<Value> {
        SmallVector<Value> columns, next;
        for (int64_t g = 0; g < span.vectors; ++g)
          columns.push_back(load(lanes, d, span, g));
        for (int64_t r = 0; r < count; ++r) {
          Value x = broadcast(rows, a.add(at[r], d));
          for (int64_t g = 0; g < span.vectors; ++g)
            next.push_back(vector::FMAOp::create(b, x, columns[g],
                                                 acc[r * span.vectors + g]));
        }
        return next;
      });
}

void LaneProducts::accumulate(const TableRows &rows, Value weights, Value sums,
                              const LaneSpan &span, Value begin, Value end,
                              ValueRange decay) {
  int64_t count = rowsAtOnce(span), rest = rows.dim % count;
  Value whole = a.c(rows.dim - rest);
  emitFor(b, a.c(0), whole, count, [&](Value d) {
    columns(rows, weights, sums, span, begin, end, decay, d, count);
  });
  if (rest)
    columns(rows, weights, sums, span, begin, end, decay, whole, rest);
}

void LaneProducts::columns(const TableRows &rows, Value weights, Value sums,
                           const LaneSpan &span, Value begin, Value end,
                           ValueRange decay, Value d, int64_t count) {
  SmallVector<Value> init, places;
  for (int64_t r = 0; r < count; ++r) {
    places.push_back(a.add(d, a.c(r)));
    for (int64_t g = 0; g < span.vectors; ++g) {
      Value old = load(sums, places[r], span, g);
      init.push_back(decay.empty() ? old
                                   : arith::MulFOp::create(b, old, decay[g]));
    }
  }
  SmallVector<Value> summed =
      emitUnrolledFor(b, begin, end, kTurns, init,
                      [&](Value n, ValueRange acc) -> SmallVector<Value> {
                        Value at = a.add(placeOf(rows, n), d);
                        SmallVector<Value> factors, next;
                        for (int64_t g = 0; g < span.vectors; ++g)
                          factors.push_back(load(weights, n, span, g));
                        for (int64_t r = 0; r < count; ++r) {
                          Value x = broadcast(rows, a.add(at, a.c(r)));
                          for (int64_t g = 0; g < span.vectors; ++g)
                            next.push_back(vector::FMAOp::create(
                                b, x, factors[g], acc[r * span.vectors + g]));
                        }
                        return next;
                      });
  for (int64_t r = 0; r < count; ++r)
    for (int64_t g = 0; g < span.vectors; ++g)
      store(summed[r * span.vectors + g], sums, places[r], span, g);
}
