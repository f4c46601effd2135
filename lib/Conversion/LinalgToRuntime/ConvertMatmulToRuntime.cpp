//===- ConvertMatmulToRuntime.cpp - matrix products as calls --------------===//

#include "../LinalgLoops/LinalgLoops.h"
#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/IR/LinalgInterfaces.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTMATMULTORUNTIMEPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct ConvertMatmulToRuntime
    : impl::ConvertMatmulToRuntimePassBase<ConvertMatmulToRuntime> {
  using ConvertMatmulToRuntimePassBase::ConvertMatmulToRuntimePassBase;

  void runOnOperation() override {
    SmallVector<linalg::GenericOp> products;
    getOperation().walk([&](linalg::GenericOp op) {
      if (isProduct(op))
        products.push_back(op);
    });
    for (linalg::GenericOp op : products)
      convert(op);
  }

  /// (b, m, k) x (b, k, n) -> (b, m, n) of floats the runtime multiplies.
  static bool isProduct(linalg::GenericOp op) {
    if (op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 ||
        op.getNumLoops() != 4 || !op.hasPureBufferSemantics() ||
        !linalg::isaContractionOpInterface(op))
      return false;
    MLIRContext *context = op.getContext();
    auto map = [&](ArrayRef<unsigned> loops) {
      return AffineMap::getMultiDimMapWithTargets(4, loops, context);
    };
    SmallVector<AffineMap> maps = op.getIndexingMapsArray();
    if (maps[0] != map({0, 1, 3}) || maps[1] != map({0, 3, 2}) ||
        maps[2] != map({0, 1, 2}))
      return false;
    Type element;
    for (Value operand : op->getOperands()) {
      auto type = dyn_cast<MemRefType>(operand.getType());
      if (!type || (element && element != type.getElementType()))
        return false;
      element = type.getElementType();
      auto [strides, offset] = type.getStridesAndOffset();
      if (strides.back() != 1)
        return false;
    }
    return element.isF32() || element.isF16() || element.isBF16();
  }

  func::FuncOp runtimeFunction(Type element, Type operand) {
    std::string name = onDevice ? "mctx_rt_device_matmul_" : "mctx_rt_matmul_";
    llvm::raw_string_ostream(name) << element;
    if (auto known = getOperation().lookupSymbol<func::FuncOp>(name))
      return known;
    OpBuilder b = OpBuilder::atBlockBegin(getOperation().getBody());
    auto type = b.getFunctionType({operand, operand, operand}, {});
    auto function =
        func::FuncOp::create(b, getOperation().getLoc(), name, type);
    function.setPrivate();
    if (onDevice)
      function->setAttr(kOnDeviceAttr, b.getUnitAttr());
    function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(),
                      b.getUnitAttr());
    return function;
  }

  void convert(linalg::GenericOp op) {
    // The runtime overwrites: zeros written just before are not read.
    if (linalg::FillOp fill = fillBefore(op, op.getDpsInitsMutable()[0]))
      fill.erase();
    ImplicitLocOpBuilder b(op.getLoc(), op);
    Value out = op.getDpsInits()[0];
    Type element = cast<MemRefType>(out.getType()).getElementType();
    constexpr int64_t any = ShapedType::kDynamic;
    auto type = MemRefType::get(
        {any, any, any}, element,
        StridedLayoutAttr::get(&getContext(), any, {any, any, any}));
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(memref::CastOp::create(b, type, operand));
    func::CallOp::create(b, runtimeFunction(element, type), operands);
    op.erase();
    ++numProducts;
  }
};
} // namespace
} // namespace mlir::megactx
