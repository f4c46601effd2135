//===- MmaFragments.cpp - products by ldmatrix and mma.sync ---------------===//

#include "Fragments.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

namespace {
class MmaFragments : public SynchronousFragments {
public:
  MmaFragments(ImplicitLocOpBuilder &b, const AttentionShape &shape,
               const Tiling &tiling, Value lane, Value warp)
      : SynchronousFragments(b, shape, tiling, lane, warp) {
    inEight = a.rem(lane, a.c(8));
    eighth = a.rem(a.div(lane, a.c(8)), a.c(2));
    sixteenth = a.div(lane, a.c(16));
  }
  void bindQueries(Value shared) override;

protected:
  SmallVector<Value> products(Value shared, Value row) override;
  void accumulate(SmallVectorImpl<Value> &out, ValueRange weights, Value shared,
                  Value row) override;

private:
  Value half(Value fragment, int64_t which);

  Value inEight, eighth, sixteenth, queries;
  SmallVector<Value> queryFragments;
};
} // namespace

Value MmaFragments::half(Value fragment, int64_t which) {
  return vector::ExtractStridedSliceOp::create(
      b, fragment, ArrayRef<int64_t>{2 * which, 0}, ArrayRef<int64_t>{2, 2},
      ArrayRef<int64_t>{1, 1});
}

void MmaFragments::bindQueries(Value shared) {
  queries = shared;
  if (!tiling.queriesInRegisters)
    return;
  for (int64_t d = 0; d < tiling.paddedHead; d += 16)
    queryFragments.push_back(loadQueries(shared, d));
}

SmallVector<Value> MmaFragments::products(Value shared, Value row) {
  SmallVector<Value> result(tiling.keys / 8, splat(0.0f));
  Value lanes = a.add(row, a.add(inEight, a.mul(sixteenth, a.c(8))));
  for (int64_t d = 0; d < tiling.paddedHead; d += 16) {
    Value q = tiling.queriesInRegisters ? queryFragments[d / 16]
                                        : loadQueries(queries, d);
    Value column = a.add(a.mul(eighth, a.c(8)), a.c(d));
    for (int64_t n = 0; n < tiling.keys / 16; ++n) {
      Value k = loadMatrices(shared, tiling.keyTile, a.add(lanes, a.c(16 * n)),
                             column, false);
      for (int64_t i = 0; i < 2; ++i)
        result[2 * n + i] =
            nvx::MmaSyncOp::create(b, q, half(k, i), result[2 * n + i]);
    }
  }
  return result;
}

void MmaFragments::accumulate(SmallVectorImpl<Value> &out, ValueRange weights,
                              Value shared, Value row) {
  Value lanes = a.add(row, a.add(inEight, a.mul(eighth, a.c(8))));
  for (auto [k, p] : llvm::enumerate(narrow(weights))) {
    for (int64_t n = 0; n < tiling.paddedValue / 16; ++n) {
      Value column = a.add(a.mul(sixteenth, a.c(8)), a.c(16 * n));
      Value v = loadMatrices(shared, tiling.valueTile,
                             a.add(lanes, a.c(16 * k)), column, true);
      for (int64_t i = 0; i < 2; ++i)
        out[2 * n + i] =
            nvx::MmaSyncOp::create(b, p, half(v, i), out[2 * n + i]);
    }
  }
}

std::unique_ptr<Fragments> mlir::megactx::nvgpu::createMmaFragments(
    ImplicitLocOpBuilder &b, const AttentionShape &shape, const Tiling &tiling,
    Value lane, Value warp) {
  return std::make_unique<MmaFragments>(b, shape, tiling, lane, warp);
}
