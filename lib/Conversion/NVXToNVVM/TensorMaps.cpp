//===- TensorMaps.cpp - tensor maps from the host to kernels --------------===//
//
// Owns both ends of a launch that passes tensor maps: the host's calls of the
// runtime, which makes them, and the kernels' arguments, which are the 128
// bytes and not their address.
//
//===----------------------------------------------------------------------===//

#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_PASSTENSORMAPSBYVALUEPASS
#define GEN_PASS_DEF_CONVERTNVXTORUNTIMEPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// CUtensorMap's, in bytes.
constexpr int64_t kMapBytes = 128, kMapAlignment = 64;

LLVM::LLVMArrayType mapType(MLIRContext *context) {
  return LLVM::LLVMArrayType::get(IntegerType::get(context, 64), kMapBytes / 8);
}

struct PassTensorMapsByValue
    : impl::PassTensorMapsByValuePassBase<PassTensorMapsByValue> {
  void runOnOperation() override {
    OpBuilder b(&getContext());
    getOperation().walk([&](NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp op) {
      auto argument = dyn_cast<BlockArgument>(op.getTmaDescriptor());
      auto kernel = op->getParentOfType<LLVM::LLVMFuncOp>();
      if (!argument || !kernel || !argument.getOwner()->isEntryBlock() ||
          argument.getOwner()->getParentOp() != kernel)
        return;
      unsigned at = argument.getArgNumber();
      StringRef byValue = LLVM::LLVMDialect::getByValAttrName();
      if (kernel.getArgAttr(at, byValue))
        return;
      kernel.setArgAttr(at, byValue, TypeAttr::get(mapType(&getContext())));
      kernel.setArgAttr(at, LLVM::LLVMDialect::getAlignAttrName(),
                        b.getI64IntegerAttr(kMapAlignment));
      kernel.setArgAttr(at, NVVM::NVVMDialect::getGridConstantAttrName(),
                        b.getUnitAttr());
      ++numMaps;
    });
  }
};

struct ConvertNVXToRuntime
    : impl::ConvertNVXToRuntimePassBase<ConvertNVXToRuntime> {
  void runOnOperation() override {
    SmallVector<nvx::EncodeTensorMapOp> ops;
    getOperation().walk([&](nvx::EncodeTensorMapOp op) { ops.push_back(op); });
    for (nvx::EncodeTensorMapOp op : ops) {
      for (Operation *user : op->getUsers())
        if (!isa<gpu::LaunchFuncOp>(user)) {
          user->emitError("expected tensor maps to be passed to kernels only");
          return signalPassFailure();
        }
      convert(op);
      ++numMaps;
    }
    SmallVector<nvx::MultiprocessorsOp> counts;
    getOperation().walk(
        [&](nvx::MultiprocessorsOp op) { counts.push_back(op); });
    for (nvx::MultiprocessorsOp op : counts)
      convert(op);
  }

  LLVM::LLVMFuncOp runtimeFunction(StringRef name, ArrayRef<Type> arguments,
                                   Type result) {
    if (auto known = getOperation().lookupSymbol<LLVM::LLVMFuncOp>(name))
      return known;
    auto b = OpBuilder::atBlockBegin(getOperation().getBody());
    return LLVM::LLVMFuncOp::create(
        b, getOperation().getLoc(), name,
        LLVM::LLVMFunctionType::get(result, arguments));
  }

  void convert(nvx::MultiprocessorsOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    Value count =
        LLVM::CallOp::create(
            b, runtimeFunction("mctx_rt_multiprocessors", {}, b.getI64Type()),
            ValueRange())
            .getResult();
    op.getCount().replaceAllUsesWith(
        arith::IndexCastOp::create(b, b.getIndexType(), count));
    op.erase();
  }

  /// (map, memory, whether of bf16, rows of a box, sizes, strides of the first
  /// three dimensions in elements), as KernelABI.h has it.
  void convert(nvx::EncodeTensorMapOp op) {
    Type pointer = LLVM::LLVMPointerType::get(&getContext());
    LLVM::LLVMArrayType type = mapType(&getContext());
    // Once for each call of the function, wherever the launch is in it.
    auto function = op->getParentOfType<FunctionOpInterface>();
    ImplicitLocOpBuilder b(op.getLoc(), op);
    b.setInsertionPointToStart(&function.getFunctionBody().front());
    Value one = LLVM::ConstantOp::create(b, b.getI64Type(), 1);
    Value map = LLVM::AllocaOp::create(b, pointer, type, one, kMapAlignment);
    b.setInsertionPoint(op);
    auto number = [&](int64_t value) -> Value {
      return LLVM::ConstantOp::create(b, b.getI64Type(), value);
    };
    auto cast = [&](Value index) -> Value {
      return arith::IndexCastOp::create(b, b.getI64Type(), index);
    };
    auto parts = memref::ExtractStridedMetadataOp::create(b, op.getMemory());
    auto memory = mlir::cast<MemRefType>(op.getMemory().getType());
    Value begin =
        cast(memref::ExtractAlignedPointerAsIndexOp::create(b, op.getMemory()));
    Value offset = arith::MulIOp::create(b, cast(parts.getOffset()), number(2));
    begin = arith::AddIOp::create(b, begin, offset);
    SmallVector<Value> operands = {
        map, LLVM::IntToPtrOp::create(b, pointer, begin),
        number(memory.getElementType().isBF16()), number(op.getRows())};
    for (Value size : parts.getSizes())
      operands.push_back(cast(size));
    for (Value stride : parts.getStrides().drop_back())
      operands.push_back(cast(stride));
    SmallVector<Type> types(ValueRange(operands).getTypes());
    LLVM::CallOp::create(
        b,
        runtimeFunction("mctx_rt_encode_tensor_map", types,
                        LLVM::LLVMVoidType::get(&getContext())),
        operands);
    op.getMap().replaceAllUsesWith(LLVM::LoadOp::create(b, type, map));
    op.erase();
  }
};
} // namespace
} // namespace mlir::megactx
