//===- VectorBlock.cpp - a block of keys by vectors of f32 ----------------===//

#include "VectorBlock.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

static_assert(kBlockKeys % kMaskedKeys == 0 &&
              kMaskedKeys == LaneProducts::kMostRows);

void VectorBlock::emit(const Masks *masks) {
  if (!masks)
    return update(whole(), nullptr);
  eachVector([&](const Part &part) { update(part, masks); });
}

void VectorBlock::update(const Part &part, const Masks *masks) {
  SmallVector<Value> maxima = loadState(part, buffers.top);
  SmallVector<Value> sums = loadState(part, buffers.sum);
  SmallVector<Value> tops = scores(part, maxima, masks);
  SmallVector<Value> decay;
  for (int64_t g = 0; g < part.vectors; ++g) {
    Value difference = arith::SubFOp::create(b, maxima[g], tops[g]);
    decay.push_back(emitExp2(b, difference));
    sums[g] = arith::MulFOp::create(b, sums[g], decay[g]);
  }
  storeState(part, exponentials(part, sums, tops), buffers.sum);
  storeState(part, tops, buffers.top);
  accumulate(part, decay);
}

/// The products into `scores`, masked and biased as the scratch says; returns
/// the maxima of each lane.
SmallVector<Value> VectorBlock::scores(const Part &part, ValueRange maxima,
                                       const Masks *masks) {
  int64_t rows = lanes.rowsAtOnce(part.span());
  enter(part);
  return emitFor(b, part.begin, part.end, rows, maxima,
                 [&](Value n, ValueRange tops) -> SmallVector<Value> {
                   SmallVector<Value> sums = products(part, n, rows);
                   SmallVector<Value> result(tops);
                   for (int64_t r = 0; r < rows; ++r) {
                     Value key = a.add(n, a.c(r));
                     for (int64_t g = 0; g < part.vectors; ++g) {
                       Value s = sums[r * part.vectors + g];
                       if (masks)
                         s = adjust(part, s, key, g, *masks);
                       storeVector(part, s, buffers.scores, key, g);
                       result[g] = a.fmax(s, result[g]);
                     }
                   }
                   return result;
                 });
}

/// P = exp2(S - max) in place, 0 for masked keys; returns the sums.
SmallVector<Value> VectorBlock::exponentials(const Part &part, ValueRange sums,
                                             ValueRange maxima) {
  return emitFor(b, part.begin, part.end, 1, sums,
                 [&](Value n, ValueRange so) -> SmallVector<Value> {
                   // Values are read column by column, which no prefetcher
                   // follows.
                   if (!buffers.form.keysAhead()) {
                     Value at = memref::LoadOp::create(b, buffers.valueAt, n);
                     emitPrefetch(b, buffers.valueData, at, shape.valueDim);
                   }
                   SmallVector<Value> result;
                   for (int64_t g = 0; g < part.vectors; ++g) {
                     Value s = loadVector(part, buffers.scores, n, g);
                     Value p =
                         emitExp2(b, arith::SubFOp::create(b, s, maxima[g]));
                     storeVector(part, p, buffers.scores, n, g);
                     result.push_back(arith::AddFOp::create(b, so[g], p));
                   }
                   return result;
                 });
}
