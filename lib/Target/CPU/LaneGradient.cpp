//===- LaneGradient.cpp - gradients of rows one by one --------------------===//
//
// Owns the form of GradientBlock.h's formulas: elements of rows are broadcast,
// against vectors with a row in each lane; those of f16 and bf16 are widened
// before, once for all lanes.
//
//===----------------------------------------------------------------------===//

#include "GradientBlock.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

/// Rows per block: a multiple of however many are summed at once.
static constexpr int64_t kRows = 72;

namespace {
/// Of buffers, but for f32: the rows as f32, flat.
enum Own { kWideA, kWideB };

class LaneGradientBlock : public GradientBlock {
public:
  using GradientBlock::GradientBlock;

private:
  void emit(Value count, const Masks *masks) override;
  Value power(Value x) override { return emitExp2(b, x); }
};

class LaneGradientForm : public GradientForm {
public:
  using GradientForm::GradientForm;
  StringRef name() const override { return "lanes"; }
  int64_t blockRows() const override { return kRows; }
  int64_t rowStep() const override {
    return LaneProducts::rowsAtOnce(shape, vectors);
  }
  SmallVector<MemRefType> ownBuffers(MLIRContext *context) const override {
    if (shape.element.isF32())
      return {};
    Type f32 = Float32Type::get(context);
    return {MemRefType::get({kRows * shape.headDim}, f32),
            MemRefType::get({kRows * shape.valueDim}, f32)};
  }
  std::unique_ptr<GradientBlock> block(ImplicitLocOpBuilder &b,
                                       const GradientBuffers &buffers,
                                       Value dataA,
                                       Value dataB) const override {
    return std::make_unique<LaneGradientBlock>(b, shape, buffers, dataA, dataB);
  }
};
} // namespace

GradientFormPtr mlir::megactx::cpu::laneGradientForm(const KernelShape &shape,
                                                     int64_t vectors) {
  return std::make_unique<LaneGradientForm>(shape, vectors);
}

void LaneGradientBlock::emit(Value count, const Masks *masks) {
  LaneSpan span{a.c(0), buffers.vectors};
  auto widened = [&](const TableRows &rows, Own to) {
    Value buffer = buffers.own.empty() ? Value() : buffers.own[to];
    return products.widen(rows, a.c(0), count, buffer);
  };
  TableRows rowsA = widened({dataA, buffers.placeA, shape.headDim}, kWideA);
  TableRows rowsB = widened({dataB, buffers.placeB, shape.valueDim}, kWideB);
  int64_t step = products.rowsAtOnce(span);
  auto each = [&](Value n, ValueRange values,
                  function_ref<void(Value, Value, int64_t)> body) {
    for (int64_t r = 0; r < step; ++r)
      for (int64_t g = 0; g < span.vectors; ++g)
        body(values[r * span.vectors + g], a.add(n, a.c(r)), g);
  };
  emitFor(b, a.c(0), count, step, [&](Value n) {
    each(n, products.products(rowsA, buffers.laneA, span, n, step),
         [&](Value s, Value row, int64_t g) {
           products.store(weight(s, row, g, masks), buffers.weights, row, span,
                          g);
         });
    each(n, products.products(rowsB, buffers.laneB, span, n, step),
         [&](Value dp, Value row, int64_t g) {
           Value p = products.load(buffers.weights, row, span, g);
           Value dx = arith::MulFOp::create(
               b, p,
               arith::SubFOp::create(b, dp, perQuery(buffers.delta, row, g)));
           if (hasSlope())
             dx = arith::MulFOp::create(
                 b, dx, products.load(buffers.slopes, row, span, g));
           products.store(dx, buffers.slopes, row, span, g);
         });
  });
  if (buffers.sumA)
    products.accumulate(rowsA, buffers.slopes, buffers.sumA, span, a.c(0),
                        count, {});
  if (buffers.sumB)
    products.accumulate(rowsB, buffers.weights, buffers.sumB, span, a.c(0),
                        count, {});
}
