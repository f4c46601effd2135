//===- ConvertMatmulToRuntime.cpp - matrix products as calls --------------===//

#include "../LinalgLoops/LinalgLoops.h"
#include "RuntimeFunction.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTMATMULTORUNTIMEPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// Whether rows, or the elements of a vector, lie side by side.
bool hasUnitStride(Value operand) {
  auto type = dyn_cast<MemRefType>(operand.getType());
  return type && type.getStridesAndOffset().first.back() == 1;
}

/// Whether rows or columns of a matrix are contiguous: it may be transposed.
bool isByRowsOrColumns(Value operand) {
  auto type = dyn_cast<MemRefType>(operand.getType());
  return type && type.getRank() >= 2 &&
         llvm::is_contained(
             ArrayRef(type.getStridesAndOffset().first).take_back(2), 1);
}

struct ConvertMatmulToRuntime
    : impl::ConvertMatmulToRuntimePassBase<ConvertMatmulToRuntime> {
  using ConvertMatmulToRuntimePassBase::ConvertMatmulToRuntimePassBase;

  void runOnOperation() override {
    SmallVector<ProductOp> withEpilogues;
    getOperation().walk([&](ProductOp op) {
      if (llvm::all_of(op->getOperandTypes(), llvm::IsaPred<MemRefType>))
        withEpilogues.push_back(op);
    });
    for (ProductOp op : withEpilogues)
      if (onDevice && isByRowsOrColumns(op.getLhs()) &&
          isByRowsOrColumns(op.getRhs()) &&
          llvm::all_of(llvm::drop_begin(op->getOperands(), 2), hasUnitStride))
        convert(op);
      else if (failed(decompose(op)))
        return signalPassFailure();
    SmallVector<linalg::GenericOp> products;
    getOperation().walk([&](linalg::GenericOp op) {
      bool isOfBytes = !onDevice && ProductOp::isIntegerProduct(op);
      if (op.hasPureBufferSemantics() &&
          (isOfBytes || ProductOp::isProduct(op)) &&
          llvm::all_of(op.getDpsInputs(), isByRowsOrColumns) &&
          hasUnitStride(op.getDpsInits()[0]))
        products.push_back(op);
    });
    for (linalg::GenericOp op : products)
      convert(op);
  }

  LogicalResult decompose(ProductOp op) {
    IRRewriter rewriter(op);
    if (failed(op.decomposeOperation(rewriter)))
      return failure();
    rewriter.eraseOp(op);
    return success();
  }

  MemRefType anyMemory(unsigned rank, Type element) {
    constexpr int64_t any = ShapedType::kDynamic;
    SmallVector<int64_t> sizes(rank, any);
    return MemRefType::get(sizes, element,
                           StridedLayoutAttr::get(&getContext(), any, sizes));
  }

  void call(ImplicitLocOpBuilder &b, const Twine &types, ValueRange operands) {
    std::string name =
        ((onDevice ? "mctx_rt_device_matmul_" : "mctx_rt_matmul_") + types)
            .str();
    func::FuncOp function =
        runtimeFunction(getOperation(), name, TypeRange(operands));
    if (onDevice)
      function->setAttr(kOnDeviceAttr, b.getUnitAttr());
    func::CallOp::create(b, function, operands);
    ++numProducts;
  }

  static std::string nameOf(Type element) {
    std::string name;
    llvm::raw_string_ostream(name) << element;
    return name;
  }

  /// The operand as the runtime has it.
  Value memory(ImplicitLocOpBuilder &b, Value operand) {
    auto type = cast<MemRefType>(operand.getType());
    return memref::CastOp::create(
        b, anyMemory(type.getRank(), type.getElementType()), operand);
  }

  /// A view of memory without elements: what stands for no bias, no residual.
  Value nothing(ImplicitLocOpBuilder &b, Value memory, unsigned rank) {
    SmallVector<int64_t> sizes(rank, 0), strides(rank, 1);
    Type element = cast<MemRefType>(memory.getType()).getElementType();
    auto view = memref::ReinterpretCastOp::create(
        b,
        MemRefType::get(sizes, element,
                        StridedLayoutAttr::get(&getContext(), 0, strides)),
        memory, /*offset=*/0, sizes, strides);
    return this->memory(b, view);
  }

  void callOnDevice(ImplicitLocOpBuilder &b, Value lhs, Value rhs, Value bias,
                    Value residual, Value out, Activation activation) {
    call(b, nameOf(cast<MemRefType>(out.getType()).getElementType()),
         {memory(b, lhs), memory(b, rhs),
          bias ? memory(b, bias) : nothing(b, out, 1),
          residual ? memory(b, residual) : nothing(b, out, 3), memory(b, out),
          arith::ConstantIntOp::create(b, int64_t(activation), 32)});
  }

  void convert(ProductOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    callOnDevice(b, op.getLhs(), op.getRhs(), op.getBias(), op.getResidual(),
                 op.getOut(), op.getActivation());
    op.erase();
  }

  void convert(linalg::GenericOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    Value lhs = op.getDpsInputs()[0], rhs = op.getDpsInputs()[1],
          out = op.getDpsInits()[0];
    // The runtime overwrites: zeros written just before are not read.
    linalg::FillOp fill = fillBefore(op, op.getDpsInitsMutable()[0]);
    bool fromZero = fill && (matchPattern(fill.value(), m_AnyZeroFloat()) ||
                             matchPattern(fill.value(), m_Zero()));
    if (!onDevice) {
      // What adds to what is there already is left to loops.
      if (!fromZero)
        return;
      fill.erase();
      Type element = cast<MemRefType>(out.getType()).getElementType();
      call(b, ProductOp::isProduct(op) ? nameOf(element) : "u8s8",
           {memory(b, lhs), memory(b, rhs), memory(b, out)});
      op.erase();
      return;
    }
    if (fromZero)
      fill.erase();
    callOnDevice(b, lhs, rhs, /*bias=*/{},
                 /*residual=*/fromZero ? Value() : out, out, Activation::None);
    op.erase();
  }
};
} // namespace
} // namespace mlir::megactx
