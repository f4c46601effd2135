//===- FmaProducts.cpp - products by scalar f32 multiplications -----------===//
//
// The generic lowering of f32, whose products no instruction for matrices gives
// in full precision: right for every shape, not fast.
//
//===----------------------------------------------------------------------===//

#include "WarpProducts.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

namespace {
class FmaProducts : public WarpProducts {
public:
  FmaProducts(ImplicitLocOpBuilder &b, Type element, Value lane, Value warp)
      : WarpProducts(b, element, lane, warp), group(a.div(lane, a.c(4))),
        inGroup(a.rem(lane, a.c(4))) {}
  SmallVector<Value> multiply(const WarpRows &rows, Value shared,
                              const TileLayout &layout, Value row,
                              int64_t count) override;
  void accumulate(SmallVectorImpl<Value> &sums, ValueRange weights,
                  Value shared, const TileLayout &layout, Value row) override;

private:
  Value load(Value shared, Value row, Value column, int64_t size);

  Value group, inGroup;
};
} // namespace

/// Element by element: vector.load's own lowering does not know the address
/// space of shared memory.
Value FmaProducts::load(Value shared, Value row, Value column, int64_t size) {
  SmallVector<Value> elements;
  for (int64_t i = 0; i < size; ++i)
    elements.push_back(memref::LoadOp::create(
        b, shared, ValueRange{row, a.add(column, a.c(i))}));
  return vector::FromElementsOp::create(
      b, VectorType::get({size}, b.getF32Type()), elements);
}

SmallVector<Value> FmaProducts::multiply(const WarpRows &rows, Value shared,
                                         const TileLayout &layout, Value row,
                                         int64_t count) {
  Value ownRow = a.add(a.mul(warp, a.c(16)), group);
  Value theirRow = a.add(row, a.mul(inGroup, a.c(2)));
  // Sums of [row][row half][column] as four partial sums each, over d mod 4.
  auto quad = VectorType::get({4}, b.getF32Type());
  SmallVector<Value> sums(count / 2, a.splat(0.0f, quad));
  sums = emitFor(
      b, a.c(0), a.c(layout.columns), 4, sums,
      [&](Value d, ValueRange so) -> SmallVector<Value> {
        SmallVector<Value> next, q;
        for (int64_t i = 0; i < 2; ++i)
          q.push_back(load(rows.shared, a.add(ownRow, a.c(8 * i)), d, 4));
        for (int64_t n = 0; n < count / 8; ++n) {
          SmallVector<Value> k;
          for (int64_t j = 0; j < 2; ++j)
            k.push_back(load(shared, a.add(theirRow, a.c(8 * n + j)), d, 4));
          for (int64_t i = 0; i < 2; ++i)
            for (int64_t j = 0; j < 2; ++j)
              next.push_back(
                  vector::FMAOp::create(b, q[i], k[j], so[next.size()]));
        }
        return next;
      });
  SmallVector<Value> result;
  for (size_t n = 0; n < sums.size(); n += 4) {
    SmallVector<Value> elements;
    for (Value sum : ArrayRef(sums).slice(n, 4))
      elements.push_back(
          vector::ReductionOp::create(b, vector::CombiningKind::ADD, sum));
    result.push_back(vector::FromElementsOp::create(b, tile, elements));
  }
  return result;
}

/// The weights of a row are spread over four lanes: each in turn takes those of
/// the lane whose number differs by `other`.
void FmaProducts::accumulate(SmallVectorImpl<Value> &sums, ValueRange weights,
                             Value shared, const TileLayout &, Value row) {
  Value column = a.mul(inGroup, a.c(2));
  auto pair = VectorType::get({2}, b.getF32Type());
  SmallVector<Value> result = emitFor(
      b, a.c(0), a.c(4), 1, sums,
      [&](Value other, ValueRange so) -> SmallVector<Value> {
        SmallVector<Value> next(so);
        Value distance = arith::IndexCastOp::create(b, b.getI32Type(), other);
        Value width = arith::ConstantIntOp::create(b, 32, 32);
        Value theirs = arith::XOrIOp::create(b, inGroup, other);
        Value theirRow = a.add(row, a.mul(theirs, a.c(2)));
        for (auto [n, tileWeights] : llvm::enumerate(weights))
          for (int64_t j = 0; j < 2; ++j) {
            SmallVector<Value> p;
            for (int64_t i = 0; i < 2; ++i) {
              Value own = vector::ExtractOp::create(b, tileWeights,
                                                    ArrayRef<int64_t>{i, j});
              Value w = gpu::ShuffleOp::create(b, own, distance, width,
                                               gpu::ShuffleMode::XOR)
                            .getShuffleResult();
              p.push_back(vector::BroadcastOp::create(b, pair, w));
            }
            Value at = a.add(theirRow, a.c(8 * n + j));
            for (auto [m, sum] : llvm::enumerate(next)) {
              Value v = load(shared, at, a.add(column, a.c(8 * m)), 2);
              for (int64_t i = 0; i < 2; ++i) {
                Value half = vector::ExtractOp::create(b, sum, i);
                half = vector::FMAOp::create(b, p[i], v, half);
                sum = vector::InsertOp::create(b, half, sum, i);
              }
            }
          }
        return next;
      });
  sums.assign(result.begin(), result.end());
}

std::unique_ptr<WarpProducts>
mlir::megactx::nvgpu::createFmaProducts(ImplicitLocOpBuilder &b, Type element,
                                        Value lane, Value warp) {
  return std::make_unique<FmaProducts>(b, element, lane, warp);
}
