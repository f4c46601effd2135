//===- BiasSums.cpp - where the gradients of scores go --------------------===//

#include "BiasSums.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

BiasSums::BiasSums(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                   const KernelArguments &arguments,
                   const ScoreElements &elements, Value lane,
                   std::array<Row, 2> rows, std::array<Value, 2> exists)
    : b(b), a{b}, shape(shape), arguments(arguments), elements(elements),
      lane(lane), rows(rows), exists(exists) {}

void BiasSums::add(ValueRange slopes, const TilePlace &at) {
  for (auto [n, tile] : llvm::enumerate(slopes)) {
    std::array<Value, 2> keys = elements.columnRows(at, n);
    if (shape.sumsQueries)
      addKeys(tile, keys);
    else
      addPairs(tile, keys);
  }
}

/// A row past the end repeats the last one.
Value BiasSums::element(Value slopes, int64_t i, int64_t j) {
  Value slope = vector::ExtractOp::create(b, slopes, ArrayRef<int64_t>{i, j});
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0.0f));
  return a.select(exists[i], slope, zero);
}

void BiasSums::addPairs(Value slopes, std::array<Value, 2> keys) {
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 2; ++j)
      addTo(rows[i], keys[j], element(slopes, i, j));
}

/// Lanes of equal numbers modulo 4 have the same keys.
void BiasSums::addKeys(Value slopes, std::array<Value, 2> keys) {
  for (int64_t j = 0; j < 2; ++j) {
    Value sum =
        arith::AddFOp::create(b, element(slopes, 0, j), element(slopes, 1, j));
    for (int32_t offset : {4, 8, 16})
      sum = arith::AddFOp::create(b, sum,
                                  gpu::ShuffleOp::create(b, sum, offset,
                                                         nvx::kWarp,
                                                         gpu::ShuffleMode::XOR)
                                      .getShuffleResult());
    emitIf(b, a.lt(lane, a.c(4)), [&] { addTo(rows[0], keys[j], sum); });
  }
}

/// Nothing where there is no pair: what is added is 0 there.
void BiasSums::addTo(const Row &query, Value key, Value slope) {
  Value sums = arguments.dbias;
  auto within = [&](Value at, int64_t dim) {
    return indexInBias(b, sums, dim, at);
  };
  SmallVector<Value> at = {a.c(0), within(query.batch, 1),
                           within(query.head, 2)};
  if (shape.sumsDistances) {
    Value queries = memref::DimOp::create(b, arguments.query, 2);
    Value last = a.sub(queries, a.c(1));
    at.push_back(a.add(a.sub(last, query.number), key));
  } else {
    at.append({within(query.number, 3), within(key, 4)});
  }
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0.0f));
  Value isSome =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, slope, zero);
  emitIf(b, isSome, [&] { nvx::AtomicAddOp::create(b, slope, sums, at); });
}
