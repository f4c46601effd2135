//===- KeyGradient.cpp - key rows in the lanes, queries one by one --------===//

#include "../Common/QueryViews.h"
#include "GradientKernel.h"
#include "TestedTiles.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

namespace {
class KeyGradientKernel : public GradientKernel {
public:
  KeyGradientKernel(KernelParts &parts, StringRef name,
                    const KernelShape &shape)
      : GradientKernel(parts, name, shape),
        walk(b, parts.getModule(), shape, arguments, *views,
             [this](Value begin, Value end, function_ref<Value(Value)> holds) {
               return emitFirstNot(b, begin, end, holds);
             }) {}

private:
  Value laneHeads() override { return keyHeads; }
  int64_t laneClasses() override { return walk.classes(); }
  Value rowsPerClass() override {
    return QueryViews::mostRowsOfClass(a, shape, keys);
  }
  Value enter(Value batch, Value, Value keyClass) override {
    walk.enter(batch, keyClass, keys);
    return walk.rowsHere;
  }
  Value rowAt(Value i) override { return walk.rowAt(i); }
  void task(GradientBuffers &buffers, Value batch, Value keyHead) override;

  Value positionOf(const GradientBuffers &buffers, Value lane);
  Value placeOf(const GradientBuffers &buffers, Value position);
  void ofHead(const GradientBuffers &buffers, Value batch, Value head);
  void queriesOf(unsigned piece, const GradientBuffers &buffers);
  std::pair<Value, Value> placeQueries(unsigned piece,
                                       const GradientBuffers &buffers,
                                       Value from, Value end, Value count);

  QueryViews walk;
  Value lowest, highest; ///< positions of the lanes' keys
  /// Of the head at hand: flat queries and dout, and their strides.
  Value queryData, queryStride, doutData, doutStride;
};
} // namespace

void KeyGradientKernel::task(GradientBuffers &buffers, Value batch,
                             Value keyHead) {
  loadLanes(buffers, {arguments.key, batch, shape.headDim},
            {arguments.value, batch, shape.valueDim});
  lowest = positionOf(buffers, a.c(0));
  highest = positionOf(buffers, a.sub(lanesHere, a.c(1)));
  emitFor(b, a.c(0), a.c(buffers.lanes), 1, [&](Value lane) {
    storeI32(placeOf(buffers, positionOf(buffers, lane)), buffers.number, lane);
  });
  Value first = a.mul(keyHead, group);
  emitFor(b, first, a.add(first, group), 1,
          [&](Value head) { ofHead(buffers, batch, head); });
  storeSum(buffers, &GradientBuffers::sumA, shape.scale,
           {arguments.dk, batch, shape.headDim});
  storeSum(buffers, &GradientBuffers::sumB, 1.0f,
           {arguments.dv, batch, shape.valueDim});
}

Value KeyGradientKernel::positionOf(const GradientBuffers &buffers,
                                    Value lane) {
  return views->positionOfKey(memref::LoadOp::create(b, buffers.rowOf, lane));
}

Value KeyGradientKernel::placeOf(const GradientBuffers &buffers,
                                 Value position) {
  return placeInBlock(b, shape, position, lowest, lanesHere,
                      [&](Value lane) { return positionOf(buffers, lane); });
}

void KeyGradientKernel::ofHead(const GradientBuffers &buffers, Value batch,
                               Value head) {
  walk.enterHead(head);
  ValueRange strides;
  std::tie(queryData, strides) = flattenAt(b, arguments.query, {batch, head});
  queryStride = strides[2];
  std::tie(doutData, strides) = flattenAt(b, arguments.dout, {batch, head});
  doutStride = strides[2];
  for (unsigned i = 0; i < shape.pieces.size(); ++i)
    ifHead(i, [&] { queriesOf(i, buffers); });
}

/// The rows of a block's queries, and what each sees, by places among the
/// lanes' keys. Returns the highest beginning and the lowest end of these.
std::pair<Value, Value>
KeyGradientKernel::placeQueries(unsigned index, const GradientBuffers &buffers,
                                Value from, Value end, Value count) {
  Value log2e = a.f32(static_cast<float>(M_LOG2E));
  Value none = a.c(0), most = a.c(INT32_MAX), last = a.sub(end, a.c(1));
  SmallVector<Value> hull =
      emitFor(b, none, count, 1, ValueRange{none, most},
              [&](Value n, ValueRange so) -> SmallVector<Value> {
                Value number = a.add(from, n), exists = a.lt(number, end);
                Value row = walk.queryRow(index, a.min(number, last));
                placeRow(buffers, n, row, queryStride, doutStride);
                SmallVector<Value> at = {views->batch, views->head, row};
                Value lse = memref::LoadOp::create(b, arguments.lse, at);
                memref::StoreOp::create(b, arith::MulFOp::create(b, lse, log2e),
                                        buffers.lse, n);
                Value delta = memref::LoadOp::create(b, arguments.delta, at);
                memref::StoreOp::create(b, delta, buffers.delta, n);
                auto [lo, hi] =
                    views->rowInterval(index, views->positionOf(row));
                // Queries past the end repeat the last one and see nothing.
                lo = placeOf(buffers, lo);
                hi = a.select(exists, placeOf(buffers, hi), none);
                storeI32(lo, buffers.low, n);
                storeI32(hi, buffers.high, n);
                return {a.max(so[0], lo), a.min(so[1], hi)};
              });
  return {hull[0], hull[1]};
}

void KeyGradientKernel::queriesOf(unsigned index,
                                  const GradientBuffers &buffers) {
  const pattern::Piece &piece = shape.pieces[index];
  Value begin, end;
  std::tie(begin, end) = walk.queriesOf(index, lowest, highest, queries);
  std::unique_ptr<GradientBlock> block =
      buffers.form.block(b, buffers, queryData, doutData);
  auto tile = [&](Value from, Value isAllowed) {
    Value count = blockRows(buffers, a.sub(end, from));
    auto [highestLow, lowestHigh] =
        placeQueries(index, buffers, from, end, count);
    Value isFull = a.both(a.le(highestLow, a.c(0)),
                          a.lt(placeOf(buffers, highest), lowestHigh));
    block->add(parts, count, isFull,
               {piece.test, *views, arguments.biases, isAllowed});
  };
  forTiles(b, TestBlocks::of(shape, piece),
           {*views, /*areQueries=*/false, buffers.rowOf, lanesHere},
           {begin, end, views->offsetOfQueries(), buffers.form.blockRows()},
           tile);
}

std::unique_ptr<GradientKernel>
mlir::megactx::cpu::keyGradientKernel(KernelParts &parts, StringRef name,
                                      const KernelShape &shape) {
  return std::make_unique<KeyGradientKernel>(parts, name, shape);
}
