//===- ConvertMemRefToGPU.cpp - which buffers the device holds ------------===//

#include "megactx/Artifact/Artifact.h"
#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Utils/MemRefUtils.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTMEMREFTOGPUPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// What a view is of: an argument, or the result of what is no view.
Value rootOf(Value memory) {
  return memref::skipViewLikeOps(cast<MemrefValue>(memory));
}

bool isMemory(Value value) { return isa<MemRefType>(value.getType()); }

struct ConvertMemRefToGPU
    : impl::ConvertMemRefToGPUPassBase<ConvertMemRefToGPU> {
  using ConvertMemRefToGPUPassBase::ConvertMemRefToGPUPassBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && failed(convert(function)))
        return signalPassFailure();
  }

  LogicalResult convert(func::FuncOp function) {
    host.clear();
    function.walk([&](Operation *op) {
      if (auto call = dyn_cast<func::CallOp>(op); call && isOnDevice(call))
        return;
      if (isa<memref::LoadOp, memref::StoreOp, func::CallOp>(op))
        for (Value operand : op->getOperands())
          if (isMemory(operand))
            host.try_emplace(rootOf(operand), op);
    });
    bool ok = true;
    function.walk([&](gpu::LaunchFuncOp launch) {
      for (Value operand : launch.getKernelOperands())
        ok &= !isMemory(operand) || succeeded(checkOnDevice(launch, operand));
    });
    if (!ok)
      return failure();
    label(function);
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : ops)
      if (failed(convert(op)))
        return failure();
    return success();
  }

  bool isOnDevice(func::CallOp call) {
    auto callee = getOperation().lookupSymbol<func::FuncOp>(call.getCallee());
    return callee && callee->hasAttr(kOnDeviceAttr);
  }

  bool isOnHost(Value memory) {
    Value root = rootOf(memory);
    return host.contains(root) || root.getDefiningOp<memref::GetGlobalOp>();
  }

  LogicalResult checkOnDevice(Operation *launch, Value operand) {
    if (!isOnHost(operand))
      return success();
    InFlightDiagnostic error =
        launch->emitOpError("expected memory of the device, but got ")
        << operand.getType() << " that the host reads or writes";
    if (Operation *access = host.lookup(rootOf(operand)))
      error.attachNote(access->getLoc()) << "here";
    return failure();
  }

  /// Notes which arguments and results the host holds.
  void label(func::FuncOp function) {
    auto where = StringAttr::get(&getContext(), "host");
    for (BlockArgument argument : function.getArguments())
      if (isMemory(argument) && isOnHost(argument))
        function.setArgAttr(argument.getArgNumber(), kMemoryAttr, where);
    Operation *end = function.front().getTerminator();
    if (!function.getBody().hasOneBlock())
      return;
    for (auto [i, result] : llvm::enumerate(end->getOperands()))
      if (isMemory(result) && isOnHost(result))
        function.setResultAttr(i, kMemoryAttr, where);
  }

  LogicalResult convert(Operation *op) {
    OpBuilder b(op);
    if (auto alloc = dyn_cast<memref::AllocOp>(op)) {
      if (isOnHost(alloc))
        return success();
      auto made = gpu::AllocOp::create(b, op->getLoc(), alloc.getType(), Type(),
                                       ValueRange(), alloc.getDynamicSizes(),
                                       alloc.getSymbolOperands());
      alloc.replaceAllUsesWith(made.getMemref());
      ++numBuffers;
    } else if (auto dealloc = dyn_cast<memref::DeallocOp>(op)) {
      if (isOnHost(dealloc.getMemref()))
        return success();
      gpu::DeallocOp::create(b, op->getLoc(), Type(), ValueRange(),
                             dealloc.getMemref());
    } else if (auto copy = dyn_cast<memref::CopyOp>(op)) {
      if (isOnHost(copy.getTarget()) && isOnHost(copy.getSource()))
        return success();
      gpu::MemcpyOp::create(b, op->getLoc(), Type(), ValueRange(),
                            copy.getTarget(), copy.getSource());
    } else {
      return success();
    }
    op->erase();
    return success();
  }

  /// Memory that the host loads from, stores to or passes on, and where.
  DenseMap<Value, Operation *> host;
};
} // namespace
} // namespace mlir::megactx
