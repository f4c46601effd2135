//===- WarpProducts.cpp - operands of a warp's products -------------------===//

#include "WarpProducts.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

Value mlir::megactx::nvgpu::rowOfLane(const Arith &a, Value warp, Value lane,
                                      int64_t half) {
  return a.add(a.mul(warp, a.c(16)), a.add(a.div(lane, a.c(4)), a.c(8 * half)));
}

WarpOperands::WarpOperands(ImplicitLocOpBuilder &b, Type element, Value lane,
                           Value warp)
    : b(b), a{b}, element(element), lane(lane), warp(warp),
      tile(VectorType::get({2, 2}, b.getF32Type())),
      aType(VectorType::get({4, 2}, element)) {}

Value WarpOperands::loadMatrices(Value shared, const TileLayout &layout,
                                 Value row, Value column, bool transpose) {
  return mlir::nvgpu::LdMatrixOp::create(
      b, aType, shared, layout.place(a, row, column), transpose, 4);
}

Value WarpOperands::loadRows(Value shared, const TileLayout &layout,
                             int64_t column) {
  Value row = a.add(a.mul(warp, a.c(16)), a.rem(lane, a.c(16)));
  Value half = a.mul(a.div(lane, a.c(16)), a.c(8));
  return loadMatrices(shared, layout, row, a.add(half, a.c(column)),
                      /*transpose=*/false);
}

SmallVector<Value> WarpOperands::narrow(ValueRange weights) {
  auto half = VectorType::get({2, 2}, element);
  SmallVector<Value> result;
  for (size_t k = 0; k < weights.size(); k += 2) {
    Value p = arith::ConstantOp::create(b, b.getZeroAttr(aType));
    for (int64_t i = 0; i < 2; ++i)
      p = vector::InsertStridedSliceOp::create(
          b, arith::TruncFOp::create(b, half, weights[k + i]), p,
          ArrayRef<int64_t>{2 * i, 0}, ArrayRef<int64_t>{1, 1});
    result.push_back(p);
  }
  return result;
}

std::unique_ptr<WarpProducts> WarpProducts::create(ImplicitLocOpBuilder &b,
                                                   Type element,
                                                   nvx::Product product,
                                                   Value lane, Value warp) {
  return product == nvx::Product::fma
             ? createFmaProducts(b, element, lane, warp)
             : createMmaProducts(b, element, lane, warp);
}
