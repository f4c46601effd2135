//===- QueryGradient.cpp - query rows in the lanes, keys one by one -------===//

#include "QueryGradient.h"
#include "TestedTiles.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

Value QueryGradientKernel::enter(Value batch, Value head, Value viewClass) {
  views->enter(batch, head, viewClass, queries);
  views->readKeyEnd(keys);
  return views->rowsHere;
}

void QueryGradientKernel::task(GradientBuffers &buffers, Value batch,
                               Value head) {
  walk(buffers, batch, head);
  storeSum(buffers, &GradientBuffers::sumA, shape.scale,
           {arguments.dq, batch, shape.headDim});
}

void QueryGradientKernel::walk(GradientBuffers &buffers, Value batch,
                               Value head) {
  loadLanes(buffers, {arguments.query, batch, shape.headDim},
            {arguments.dout, batch, shape.valueDim});
  Value log2e = a.f32(static_cast<float>(M_LOG2E));
  emitFor(b, a.c(0), a.c(buffers.lanes), 1, [&](Value lane) {
    Value row = memref::LoadOp::create(b, buffers.rowOf, lane);
    SmallVector<Value> at = {batch, head, row};
    Value lse = memref::LoadOp::create(b, arguments.lse, at);
    memref::StoreOp::create(b, arith::MulFOp::create(b, lse, log2e),
                            buffers.lse, lane);
    Value delta = memref::LoadOp::create(b, arguments.delta, at);
    memref::StoreOp::create(b, delta, buffers.delta, lane);
  });
  Value keyHead = a.div(head, group);
  for (unsigned i = 0; i < shape.pieces.size(); ++i)
    ifHead(i, [&] { keysOf(i, buffers, batch, keyHead); });
}

QueryGradientKernel::Hull
QueryGradientKernel::bounds(unsigned index, const GradientBuffers &buffers) {
  Value huge = a.c(INT32_MAX), none = a.c(0);
  SmallVector<Value> hull = emitFor(
      b, a.c(0), a.c(buffers.lanes), 1, ValueRange{huge, none, huge, none},
      [&](Value lane, ValueRange so) -> SmallVector<Value> {
        Value row = memref::LoadOp::create(b, buffers.rowOf, lane);
        auto [lo, hi] = views->keysOf(index, views->positionOf(row));
        storeI32(lo, buffers.low, lane);
        storeI32(hi, buffers.high, lane);
        // A row without keys widens nothing, but then no block is full.
        Value some = a.lt(lo, hi);
        return {a.select(some, a.min(so[0], lo), so[0]),
                a.select(some, a.max(so[1], lo), huge), a.min(so[2], hi),
                a.select(some, a.max(so[3], hi), so[3])};
      });
  return {hull[0], hull[1], hull[2], hull[3]};
}

void QueryGradientKernel::keysOf(unsigned index, const GradientBuffers &buffers,
                                 Value batch, Value keyHead) {
  const pattern::Piece &piece = shape.pieces[index];
  auto [keyData, keyStrides] = flattenAt(b, arguments.key, {batch, keyHead});
  auto [valueData, valueStrides] =
      flattenAt(b, arguments.value, {batch, keyHead});
  Value keyStride = keyStrides[2], valueStride = valueStrides[2];
  Hull hull = bounds(index, buffers);
  KeyViews::Places places = views->places(index);
  std::unique_ptr<GradientBlock> block =
      buffers.form.block(b, buffers, keyData, valueData);
  Value begin = a.min(hull.lowest, hull.highest), end = hull.highest;
  auto tile = [&](Value from, Value isAllowed) {
    Value count = blockRows(buffers, a.sub(end, from));
    Value last = a.sub(end, a.c(1));
    emitFor(b, a.c(0), count, 1, [&](Value n) {
      // Keys past the end repeat the last one and are masked.
      Value key = a.add(from, n);
      storeI32(key, buffers.number, n);
      placeRow(buffers, n, views->keyRow(index, places, a.min(key, last)),
               keyStride, valueStride);
    });
    Value isFull = a.both(
        a.le(hull.highestLow, from),
        a.le(a.add(from, a.c(buffers.form.blockRows())), hull.lowestHigh));
    block->add(parts, count, isFull,
               {piece.test, *views, arguments.biases, isAllowed});
    afterBlock(buffers, count);
  };
  forTiles(b, TestBlocks::of(shape, piece),
           {*views, /*areQueries=*/true, buffers.rowOf, lanesHere},
           {begin, end, arguments.keyOffset, buffers.form.blockRows()}, tile);
}

std::unique_ptr<GradientKernel>
mlir::megactx::cpu::queryGradientKernel(KernelParts &parts, StringRef name,
                                        const KernelShape &shape) {
  return std::make_unique<QueryGradientKernel>(parts, name, shape);
}
