//===- ConvertAttentionToNVGPUKernels.cpp - launches instead of ops -------===//

#include "Kernel.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Target/NVGPU/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
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

  FailureOr<cpu::KernelShape> shapeOf(FusedAttentionOp op) {
    auto query = dyn_cast<MemRefType>(op.getQuery().getType());
    auto value = dyn_cast<MemRefType>(op.getValue().getType());
    if (!query || !value)
      return op.emitOpError("expected memrefs; bufferize first");
    Type element = query.getElementType();
    if (!element.isF16() && !element.isBF16())
      return op.emitOpError("expected f16 or bf16 on this target, but got ")
             << element;
    cpu::KernelShape shape{};
    shape.pieces = op.getPieceList();
    shape.element = element;
    shape.headDim = query.getDimSize(3);
    shape.valueDim = value.getDimSize(3);
    for (int64_t dim : {shape.headDim, shape.valueDim})
      if (ShapedType::isDynamic(dim) || dim % 8 || dim < 8 || dim > 256)
        return op.emitOpError("expected static head dims of 8 to 256 that are "
                              "multiples of 8, but got ")
               << query << " and " << value;
    shape.scale = op.getScale().convertToFloat();
    if (!(shape.scale > 0))
      return op.emitOpError("expected a positive scale on this target");
    if (op.getBias() || op.getSoftcap())
      return op.emitOpError("expected no bias and no softcap on this target");
    for (const pattern::Piece &piece : shape.pieces)
      if (piece.test)
        return op.emitOpError("expected pieces without a test per element on "
                              "this target, but got ")
               << piece.str();
    shape.queryStep = op.getQueryStep();
    shape.keyStep = op.getKeyStep();
    shape.hasLengths = bool(op.getLengths());
    shape.accumulate = op.getAccumulate();
    if (!shape.accumulate && !shape.pieces.front().digits.hasOneView() &&
        nvgpu::classesOf(shape) != nvgpu::periodOf(shape))
      return op.emitOpError("expected pieces that cover every residue, or "
                            "accumulate");
    return shape;
  }

  LogicalResult convert(FusedAttentionOp op) {
    FailureOr<cpu::KernelShape> shape = shapeOf(op);
    if (failed(shape))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), op);
    cpu::Arith a{b};
    SmallVector<Value> operands = {op.getQuery(), op.getKey(), op.getValue()};
    if (op.getLengths())
      operands.push_back(op.getLengths());
    for (Value offset : {op.getQueryOffset(), op.getKeyOffset()})
      operands.push_back(offset ? offset : a.c(0));
    operands.append({op.getOut(), op.getLse()});
    auto types = cpu::kernelArguments(&getContext(), *shape);
    for (auto [operand, type] : llvm::zip(operands, types)) {
      if (operand.getType() == type)
        continue;
      if (!memref::CastOp::areCastCompatible(operand.getType(), type))
        return op.emitOpError("expected rows of unit stride, but got ")
               << operand.getType();
      operand = memref::CastOp::create(b, type, operand);
    }
    gpu::GPUFuncOp kernel = kernelFor(*shape);
    auto dim = [&](int64_t i) -> Value {
      return memref::DimOp::create(b, op.getQuery(), i);
    };
    Value rows = a.ceilDiv(dim(2), a.c(nvgpu::periodOf(*shape)));
    Value blocks = a.mul(a.ceilDiv(rows, a.c(nvgpu::kRows)),
                         a.c(nvgpu::classesOf(*shape)));
    Value bytes =
        arith::ConstantIntOp::create(b, nvgpu::Tiling(*shape).bytes(), 32);
    gpu::LaunchFuncOp::create(
        b, kernel, gpu::KernelDim3{blocks, dim(1), dim(0)},
        gpu::KernelDim3{a.c(nvgpu::kThreads), a.c(1), a.c(1)}, bytes, operands);
    op.erase();
    ++numLaunches;
    return success();
  }

  gpu::GPUFuncOp kernelFor(const cpu::KernelShape &shape) {
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
