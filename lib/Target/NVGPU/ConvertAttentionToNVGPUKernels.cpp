//===- ConvertAttentionToNVGPUKernels.cpp - launches instead of ops -------===//

#include "../Common/KeyViews.h"
#include "Kernel.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Target/NVGPU/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTATTENTIONTONVGPUKERNELSPASS
#include "megactx/Target/NVGPU/Passes.h.inc"

namespace {
struct ConvertAttentionToNVGPUKernels
    : impl::ConvertAttentionToNVGPUKernelsPassBase<
          ConvertAttentionToNVGPUKernels> {
  void runOnOperation() override {
    SmallVector<FusedAttentionOp> ops;
    getOperation().walk([&](FusedAttentionOp op) { ops.push_back(op); });
    for (FusedAttentionOp op : ops)
      if (failed(convert(op)))
        return signalPassFailure();
  }

  FailureOr<AttentionShape> shapeOf(FusedAttentionOp op) {
    FailureOr<AttentionShape> common = AttentionShape::of(op);
    if (failed(common))
      return failure();
    AttentionShape shape = *std::move(common);
    Type element = shape.element;
    if (!element.isF16() && !element.isBF16() && !element.isF32())
      return op.emitOpError("expected f16, bf16 or f32 on this target, but "
                            "got ")
             << element;
    for (int64_t dim : {shape.headDim, shape.valueDim})
      if (dim % 8 || dim < 8 || dim > 256)
        return op.emitOpError("expected head dims of 8 to 256 that are "
                              "multiples of 8, but got ")
               << shape.headDim << " and " << shape.valueDim;
    return shape;
  }

  LogicalResult convert(FusedAttentionOp op) {
    FailureOr<AttentionShape> shape = shapeOf(op);
    if (failed(shape))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), op);
    Arith a{b};
    FailureOr<SmallVector<Value>> operands = kernelOperands(b, op, *shape);
    if (failed(operands))
      return failure();
    gpu::GPUFuncOp kernel = kernelFor(*shape);
    auto dim = [&](int64_t i) -> Value {
      return memref::DimOp::create(b, op.getQuery(), i);
    };
    Value rows = a.ceilDiv(dim(2), a.c(KeyViews::periodOf(*shape)));
    Value blocks =
        a.mul(a.ceilDiv(rows, a.c(nvgpu::kRows)),
              a.c(KeyViews::classesOf(*shape, nvgpu::coversAll(*shape))));
    Value bytes =
        arith::ConstantIntOp::create(b, nvgpu::Tiling(*shape).bytes(), 32);
    gpu::LaunchFuncOp::create(
        b, kernel, gpu::KernelDim3{blocks, dim(1), dim(0)},
        gpu::KernelDim3{a.c(nvgpu::kThreads), a.c(1), a.c(1)}, bytes,
        *operands);
    op.erase();
    ++numLaunches;
    return success();
  }

  gpu::GPUFuncOp kernelFor(const AttentionShape &shape) {
    gpu::GPUFuncOp &kernel = kernels[shape.key()];
    if (kernel)
      return kernel;
    std::string number = std::to_string(numKernels++);
    auto b = OpBuilder::atBlockEnd(getOperation().getBody());
    getOperation()->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                            b.getUnitAttr());
    auto module = gpu::GPUModuleOp::create(b, getOperation().getLoc(),
                                           "mctx_attention_module_" + number);
    return kernel =
               nvgpu::emitKernel(module, "mctx_attention_" + number, shape);
  }

  llvm::StringMap<gpu::GPUFuncOp> kernels;
};
} // namespace
} // namespace mlir::megactx
