//===- MmaProducts.cpp - products by ldmatrix and mma.sync ----------------===//

#include "WarpProducts.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

namespace {
class MmaProducts : public WarpProducts {
public:
  MmaProducts(ImplicitLocOpBuilder &b, Type element, Value lane, Value warp)
      : WarpProducts(b, element, lane, warp), inEight(a.rem(lane, a.c(8))),
        eighth(a.rem(a.div(lane, a.c(8)), a.c(2))),
        sixteenth(a.div(lane, a.c(16))) {}
  WarpRows bind(Value shared, const TileLayout &layout, bool held) override;
  SmallVector<Value> multiply(const WarpRows &rows, Value shared,
                              const TileLayout &layout, Value row,
                              int64_t count) override;
  void accumulate(SmallVectorImpl<Value> &sums, ValueRange weights,
                  Value shared, const TileLayout &layout, Value row) override;

private:
  Value half(Value fragment, int64_t which);

  Value inEight, eighth, sixteenth;
};
} // namespace

Value MmaProducts::half(Value fragment, int64_t which) {
  return vector::ExtractStridedSliceOp::create(
      b, fragment, ArrayRef<int64_t>{2 * which, 0}, ArrayRef<int64_t>{2, 2},
      ArrayRef<int64_t>{1, 1});
}

WarpRows MmaProducts::bind(Value shared, const TileLayout &layout, bool held) {
  WarpRows rows{shared, layout, {}};
  for (int64_t d = 0; held && d < layout.columns; d += 16)
    rows.held.push_back(loadRows(shared, layout, d));
  return rows;
}

SmallVector<Value> MmaProducts::multiply(const WarpRows &rows, Value shared,
                                         const TileLayout &layout, Value row,
                                         int64_t count) {
  SmallVector<Value> result(count / 8, a.splat(0.0f, tile));
  Value lanes = a.add(row, a.add(inEight, a.mul(sixteenth, a.c(8))));
  for (int64_t d = 0; d < layout.columns; d += 16) {
    Value own = rows.held.empty() ? loadRows(rows.shared, rows.layout, d)
                                  : rows.held[d / 16];
    Value column = a.add(a.mul(eighth, a.c(8)), a.c(d));
    for (int64_t n = 0; n < count / 16; ++n) {
      Value theirs = loadMatrices(shared, layout, a.add(lanes, a.c(16 * n)),
                                  column, false);
      for (int64_t i = 0; i < 2; ++i)
        result[2 * n + i] =
            nvx::MmaSyncOp::create(b, own, half(theirs, i), result[2 * n + i]);
    }
  }
  return result;
}

void MmaProducts::accumulate(SmallVectorImpl<Value> &sums, ValueRange weights,
                             Value shared, const TileLayout &layout,
                             Value row) {
  Value lanes = a.add(row, a.add(inEight, a.mul(eighth, a.c(8))));
  for (auto [k, p] : llvm::enumerate(narrow(weights))) {
    for (int64_t n = 0; n < layout.columns / 16; ++n) {
      Value column = a.add(a.mul(sixteenth, a.c(8)), a.c(16 * n));
      Value v =
          loadMatrices(shared, layout, a.add(lanes, a.c(16 * k)), column, true);
      for (int64_t i = 0; i < 2; ++i)
        sums[2 * n + i] =
            nvx::MmaSyncOp::create(b, p, half(v, i), sums[2 * n + i]);
    }
  }
}

std::unique_ptr<WarpProducts>
mlir::megactx::nvgpu::createMmaProducts(ImplicitLocOpBuilder &b, Type element,
                                        Value lane, Value warp) {
  return std::make_unique<MmaProducts>(b, element, lane, warp);
}
