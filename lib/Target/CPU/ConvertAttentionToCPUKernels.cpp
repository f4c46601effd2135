//===- ConvertAttentionToCPUKernels.cpp - calls instead of ops ------------===//

#include "GradientKernel.h"
#include "KernelParts.h"
#include "megactx/Support/VectorBits.h"
#include "megactx/Target/CPU/Passes.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTATTENTIONTOCPUKERNELSPASS
#include "megactx/Target/CPU/Passes.h.inc"

namespace {
struct ConvertAttentionToCPUKernels
    : impl::ConvertAttentionToCPUKernelsPassBase<ConvertAttentionToCPUKernels> {
  using ConvertAttentionToCPUKernelsPassBase::
      ConvertAttentionToCPUKernelsPassBase;

  void runOnOperation() override {
    if (failed(verifyVectorBits(getOperation(), vectorBits)))
      return signalPassFailure();
    if (vectorRegisters < 16) {
      getOperation()->emitError(
          "expected vector-registers of at least 16, but got ")
          << int64_t(vectorRegisters);
      return signalPassFailure();
    }
    // The same pass may run on another module, which has no kernel yet.
    parts.emplace(getOperation());
    kernels.clear();
    number = 0;
    SmallVector<AttentionLinkInterface> ops;
    getOperation().walk([&](AttentionLinkInterface op) {
      if (isFused(op))
        ops.push_back(op);
    });
    for (AttentionLinkInterface op : ops)
      if (failed(convert(op)))
        return signalPassFailure();
  }

  FailureOr<cpu::KernelShape> shapeOf(AttentionLinkInterface op) {
    FailureOr<AttentionShape> common = AttentionShape::of(op);
    if (failed(common))
      return failure();
    cpu::KernelShape shape{*std::move(common), vectorBits / 32, vectorRegisters,
                           amx};
    if (shape.headDim < 1 || shape.headDim > 512 || shape.valueDim < 1 ||
        shape.valueDim > 512)
      return op.emitOpError("expected head dims of 1 to 512, but got ")
             << shape.headDim << " and " << shape.valueDim;
    return shape;
  }

  LogicalResult convert(AttentionLinkInterface op) {
    FailureOr<cpu::KernelShape> shape = shapeOf(op);
    if (failed(shape))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), op);
    FailureOr<SmallVector<Value>> operands = kernelOperands(b, op, *shape);
    if (failed(operands))
      return failure();
    func::FuncOp kernel = kernelFor(*shape);
    func::CallOp::create(b, kernel, *operands);
    op.erase();
    ++numCalls;
    return success();
  }

  func::FuncOp kernelFor(const cpu::KernelShape &shape) {
    func::FuncOp &kernel = kernels[shape.key()];
    if (kernel)
      return kernel;
    std::string name;
    do
      name = "mctx_attention_" + std::to_string(number++);
    while (getOperation().lookupSymbol(name));
    ++numKernels;
    kernel = shape.result == KernelResult::Attention
                 ? cpu::emitKernel(*parts, name, shape)
                 : cpu::emitGradientKernel(*parts, name, shape);
    return kernel;
  }

  std::optional<cpu::KernelParts> parts;
  llvm::StringMap<func::FuncOp> kernels;
  unsigned number = 0;
};
} // namespace
} // namespace mlir::megactx
