//===- ConvertAttentionToCPUKernels.cpp - calls instead of ops ------------===//

#include "Kernel.h"
#include "megactx/Target/CPU/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTATTENTIONTOCPUKERNELSPASS
#include "megactx/Target/CPU/Passes.h.inc"

namespace {
struct ConvertAttentionToCPUKernels
    : impl::ConvertAttentionToCPUKernelsPassBase<ConvertAttentionToCPUKernels> {
  using ConvertAttentionToCPUKernelsPassBase::
      ConvertAttentionToCPUKernelsPassBase;

  void runOnOperation() override {
    if (vectorBits != 128 && vectorBits != 256 && vectorBits != 512) {
      getOperation().emitError("expected vector-bits of 128, 256 or 512, but "
                               "got ")
          << vectorBits.getValue();
      return signalPassFailure();
    }
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
    if (query.isDynamicDim(3) || value.isDynamicDim(3))
      return op.emitOpError("expected static head dims, but got ")
             << query << " and " << value;
    cpu::KernelShape shape;
    shape.pieces = op.getPieceList();
    shape.element = query.getElementType();
    shape.headDim = query.getDimSize(3);
    shape.valueDim = value.getDimSize(3);
    if (shape.headDim < 1 || shape.headDim > 512 || shape.valueDim < 1 ||
        shape.valueDim > 512)
      return op.emitOpError("expected head dims of 1 to 512, but got ")
             << shape.headDim << " and " << shape.valueDim;
    shape.scale = op.getScale().convertToFloat();
    if (op.getSoftcap())
      shape.softcap = op.getSoftcap()->convertToFloat();
    shape.queryStep = op.getQueryStep();
    shape.keyStep = op.getKeyStep();
    shape.hasBias = bool(op.getBias());
    shape.biasPerKey =
        shape.hasBias &&
        cast<MemRefType>(op.getBias().getType()).getDimSize(2) == 1;
    shape.hasLengths = bool(op.getLengths());
    shape.accumulate = op.getAccumulate();
    shape.lanes = vectorBits / 32;
    return shape;
  }

  LogicalResult convert(FusedAttentionOp op) {
    FailureOr<cpu::KernelShape> shape = shapeOf(op);
    if (failed(shape))
      return failure();
    SmallVector<Type> types = cpu::kernelArguments(&getContext(), *shape);
    ImplicitLocOpBuilder b(op.getLoc(), op);
    SmallVector<Value> operands = {op.getQuery(), op.getKey(), op.getValue()};
    if (op.getBias())
      operands.push_back(op.getBias());
    if (op.getLengths())
      operands.push_back(op.getLengths());
    auto orZero = [&](Value offset) -> Value {
      return offset ? offset : arith::ConstantIndexOp::create(b, 0);
    };
    operands.append({orZero(op.getQueryOffset()), orZero(op.getKeyOffset()),
                     op.getOut(), op.getLse()});
    for (auto [operand, type] : llvm::zip(operands, types)) {
      if (operand.getType() == type)
        continue;
      if (!memref::CastOp::areCastCompatible(operand.getType(), type))
        return op.emitOpError("expected rows of unit stride, but got ")
               << operand.getType();
      operand = memref::CastOp::create(b, type, operand);
    }
    bool coversAll =
        shape->accumulate || shape->pieces.front().digits.hasOneView();
    if (!coversAll)
      clear(b, op);
    func::FuncOp kernel = kernelFor(*shape);
    func::CallOp::create(b, kernel, operands);
    op.erase();
    ++numCalls;
    return success();
  }

  /// Rows of residues that no piece has are written here.
  void clear(ImplicitLocOpBuilder &b, FusedAttentionOp op) {
    auto fill = [&](Value memref, TypedAttr value) {
      auto type = cast<MemRefType>(memref.getType());
      Value scalar = arith::ConstantOp::create(b, value);
      SmallVector<Value> lower, upper, step;
      for (int64_t i = 0; i < type.getRank(); ++i) {
        lower.push_back(arith::ConstantIndexOp::create(b, 0));
        upper.push_back(memref::DimOp::create(b, memref, i));
        step.push_back(arith::ConstantIndexOp::create(b, 1));
      }
      scf::buildLoopNest(b, b.getLoc(), lower, upper, step,
                         [&](OpBuilder &nested, Location loc, ValueRange at) {
                           memref::StoreOp::create(nested, loc, scalar, memref,
                                                   at);
                         });
    };
    Type element = cast<MemRefType>(op.getOut().getType()).getElementType();
    fill(op.getOut(), b.getFloatAttr(element, 0.0));
    fill(op.getLse(),
         b.getF32FloatAttr(-std::numeric_limits<float>::infinity()));
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
    return kernel = cpu::emitKernel(getOperation(), name, shape);
  }

  llvm::StringMap<func::FuncOp> kernels;
  unsigned number = 0;
};
} // namespace
} // namespace mlir::megactx
