//===- GradientTile.cpp - gradients of one tile of pairs ------------------===//

#include "GradientTile.h"
#include "ScoreElements.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

Value GradientTiles::splat(float x) {
  return Arith{b}.splat(x, VectorType::get({2, 2}, b.getF32Type()));
}

/// Plus infinity of a row without keys makes it 0.
Value GradientTiles::weight(Value score, Value lse) {
  constexpr float log2e = static_cast<float>(M_LOG2E);
  Value factor = splat(factorOf(shape) * log2e), power;
  // As in the softmax: of a finite bias that hides keys, the rounding of a
  // product is more than what exponents can be.
  if (!shape.biasPerKey.empty()) {
    Value apart = arith::SubFOp::create(b, score, lse);
    power = arith::MulFOp::create(b, apart, factor);
  } else {
    Value shift = arith::MulFOp::create(b, lse, splat(-log2e));
    power = vector::FMAOp::create(b, score, factor, shift);
  }
  return nvx::Exp2Op::create(b, power);
}

/// By the product of query and key, scaled: a softcap's own slope is 1 - t^2
/// of t = tanh. Biases are added to what is capped already.
Value GradientTiles::slope(Value weight, Value product, Value doutProduct,
                           Value delta) {
  Value slope = arith::MulFOp::create(
      b, weight, arith::SubFOp::create(b, doutProduct, delta));
  if (!shape.softcap || shape.result == KernelResult::BiasGradient)
    return slope;
  Value t = arith::MulFOp::create(b, cappedScore(b, shape, product),
                                  splat(1 / *shape.softcap));
  Value minus = arith::NegFOp::create(b, t);
  return arith::MulFOp::create(b, slope,
                               vector::FMAOp::create(b, minus, t, splat(1.0f)));
}

GradientTile GradientTiles::tile(ValueRange products, ValueRange scores,
                                 ValueRange doutProducts,
                                 function_ref<QueryNumbers(int64_t n)> of) {
  GradientTile tile;
  for (auto [n, score] : llvm::enumerate(scores)) {
    QueryNumbers query = of(n);
    Value p = weight(score, query.lse);
    tile.weights.push_back(p);
    tile.slopes.push_back(slope(p, products[n], doutProducts[n], query.delta));
  }
  return tile;
}

void mlir::megactx::nvgpu::addSums(ImplicitLocOpBuilder &b, Value lane,
                                   ValueRange sums, float factor, Value memory,
                                   const std::array<SumRow, 2> &rows) {
  Arith a{b};
  auto pair = VectorType::get({2}, b.getF32Type());
  IntegerAttr alignment = b.getI64IntegerAttr(8);
  int64_t count = cast<MemRefType>(memory.getType()).getDimSize(3) / 8;
  Value inEight = a.mul(a.rem(lane, a.c(4)), a.c(2));
  for (auto [half, row] : llvm::enumerate(rows))
    emitIf(b, row.exists, [&, half = half, &row = row] {
      for (int64_t n = 0; n < count; ++n) {
        SmallVector<Value> at = row.at;
        at.push_back(a.add(inEight, a.c(8 * n)));
        auto old = vector::LoadOp::create(b, pair, memory, at);
        old->setAttr("alignment", alignment);
        Value sum = vector::ExtractOp::create(b, sums[n], half);
        sum = vector::FMAOp::create(b, sum, a.splat(factor, pair), old);
        auto store = vector::StoreOp::create(b, sum, memory, at);
        store->setAttr("alignment", alignment);
      }
    });
}
