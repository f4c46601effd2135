//===- ConvertHostAccessToGPU.cpp - single elements of device memory ------===//
//
// Buffers that kernels use are the device's. What host code does with single
// elements of them becomes:
//
//   cf.assert of what it loads     a kernel that notes the number of the first
//                                  check that fails; told behind the run
//   memref.store                   a kernel that stores
//   memref.load                    a copy to the host, which waits
//
// Buffers that no kernel uses stay with the host.
//
//===----------------------------------------------------------------------===//

#include "FirstThread.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Utils/MemRefUtils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTHOSTACCESSTOGPUPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// What a view is of: an argument, or the result of what is no view.
Value rootOf(Value memory) {
  return memref::skipViewLikeOps(cast<MemrefValue>(memory));
}

struct ConvertHostAccessToGPU
    : impl::ConvertHostAccessToGPUPassBase<ConvertHostAccessToGPU> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    // The same pass may have run on another function.
    device.clear();
    flag = {};
    messages.clear();
    findDeviceMemory();
    SmallVector<cf::AssertOp> checks;
    SmallVector<memref::StoreOp> stores;
    SmallVector<memref::LoadOp> loads;
    function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<gpu::LaunchOp>(op))
        return WalkResult::skip();
      if (auto check = dyn_cast<cf::AssertOp>(op))
        checks.push_back(check);
      else if (auto store = dyn_cast<memref::StoreOp>(op);
               store && isOnDevice(store.getMemref()))
        stores.push_back(store);
      return WalkResult::advance();
    });
    for (cf::AssertOp check : checks)
      moveCheck(check);
    reportChecks();
    for (memref::StoreOp store : stores)
      convert(store);
    // Those that only checks used are gone.
    function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<gpu::LaunchOp>(op))
        return WalkResult::skip();
      if (auto load = dyn_cast<memref::LoadOp>(op);
          load && isOnDevice(load.getMemref()))
        loads.push_back(load);
      return WalkResult::advance();
    });
    for (memref::LoadOp load : loads)
      convert(load);
  }

  /// Memory is the device's where anything but the host's loads and stores of
  /// single elements uses it.
  void findDeviceMemory() {
    getOperation().walk([&](Operation *op) {
      if (isa<ViewLikeOpInterface, memref::DeallocOp, memref::DimOp,
              func::ReturnOp>(op))
        return;
      // What is copied to the stack is there for the host.
      bool isCopy = isa<memref::CopyOp, gpu::MemcpyOp>(op);
      bool isKernel = op->getParentOfType<gpu::LaunchOp>() != nullptr;
      if (isa<memref::LoadOp, memref::StoreOp>(op) && !isKernel)
        return;
      for (Value operand : op->getOperands())
        if (Value root =
                isa<MemRefType>(operand.getType()) ? rootOf(operand) : Value();
            root && !(isCopy && root.getDefiningOp<memref::AllocaOp>()))
          device.insert(root);
    });
  }
  bool isOnDevice(Value memory) { return device.contains(rootOf(memory)); }

  /// The ops that compute a condition from elements in device memory, in order;
  /// empty where they have none, or where the memory may change in between.
  SmallVector<Operation *> sliceOf(cf::AssertOp check) {
    SetVector<Operation *> slice;
    BackwardSliceOptions options;
    options.inclusive = true;
    options.omitBlockArguments = true;
    options.filter = [&](Operation *op) {
      return op->getBlock() == check->getBlock() &&
             (isa<memref::LoadOp>(op) || isPure(op)) &&
             !isa<ViewLikeOpInterface>(op);
    };
    if (failed(getBackwardSlice(check.getArg(), &slice, options)))
      return {};
    Operation *first = nullptr;
    for (Operation *op : slice)
      if (auto load = dyn_cast<memref::LoadOp>(op)) {
        if (!isOnDevice(load.getMemref()))
          return {};
        if (!first || op->isBeforeInBlock(first))
          first = op;
      }
    if (!first)
      return {};
    SmallVector<Operation *> ops(slice.getArrayRef());
    llvm::sort(
        ops, [](Operation *x, Operation *y) { return x->isBeforeInBlock(y); });
    for (Operation *op = first; op != ops.back(); op = op->getNextNode())
      if (!isPure(op) &&
          !isa<memref::LoadOp, cf::AssertOp, memref::AllocOp>(op))
        return {};
    return ops;
  }

  void moveCheck(cf::AssertOp check) {
    SmallVector<Operation *> slice = sliceOf(check);
    if (slice.empty())
      return;
    if (!flag)
      makeFlag();
    messages.push_back(check.getMsgAttr());
    // Where the condition is known: what is checked may change until the check.
    ImplicitLocOpBuilder b(check.getLoc(), check);
    b.setInsertionPointAfter(slice.back());
    launchFirstThreads(b, "check", [&](Value) {
      IRMapping map;
      for (Operation *op : slice)
        b.clone(*op, map);
      auto number = [&](int64_t value) -> Value {
        return arith::ConstantIntOp::create(b, value, 32);
      };
      Value holds = map.lookupOrDefault(check.getArg());
      Value fails = arith::XOrIOp::create(
          b, holds, arith::ConstantIntOp::create(b, 1, 1));
      Value before = memref::LoadOp::create(b, flag);
      Value isFirst =
          arith::CmpIOp::create(b, arith::CmpIPredicate::eq, before, number(0));
      Value notes = arith::AndIOp::create(b, fails, isFirst);
      auto branch = scf::IfOp::create(b, notes, /*withElseRegion=*/false);
      b.setInsertionPointToStart(branch.thenBlock());
      memref::StoreOp::create(b, number(messages.size()), flag);
    });
    check.erase();
    for (Operation *op : llvm::reverse(slice))
      if (op->use_empty())
        op->erase();
    ++numChecks;
  }

  /// Device memory for the number of the first check that failed, 0 for none.
  void makeFlag() {
    func::FuncOp function = getOperation();
    auto b = ImplicitLocOpBuilder::atBlockBegin(function.getLoc(),
                                                &function.front());
    flag = memref::AllocOp::create(b, MemRefType::get({}, b.getI32Type()));
    device.insert(flag);
    gpu::MemsetOp::create(b, Type(), ValueRange(), flag,
                          arith::ConstantIntOp::create(b, 0, 32));
  }

  /// At the end of the run it is known which check failed.
  void reportChecks() {
    if (!flag)
      return;
    SmallVector<func::ReturnOp> ends;
    getOperation().walk([&](func::ReturnOp op) { ends.push_back(op); });
    for (func::ReturnOp end : ends) {
      ImplicitLocOpBuilder b(end.getLoc(), end);
      SmallVector<Attribute> texts(messages.begin(), messages.end());
      nvx::ReportChecksOp::create(b, flag, b.getArrayAttr(texts));
      memref::DeallocOp::create(b, flag);
    }
  }

  void convert(memref::StoreOp store) {
    ImplicitLocOpBuilder b(store.getLoc(), store);
    launchFirstThreads(b, "store", [&](Value) { b.clone(*store); });
    store.erase();
    ++numStores;
  }

  void convert(memref::LoadOp load) {
    ImplicitLocOpBuilder b(load.getLoc(), load);
    auto type = MemRefType::get({}, load.getType());
    // A place of its own: copies are of whole buffers.
    Value there = memref::AllocOp::create(b, type);
    launchFirstThreads(b, "load", [&](Value) {
      Value element = b.clone(*load)->getResult(0);
      memref::StoreOp::create(b, element, there);
    });
    Value here = memref::AllocaOp::create(b, type);
    memref::CopyOp::create(b, there, here);
    memref::DeallocOp::create(b, there);
    load.replaceAllUsesWith(memref::LoadOp::create(b, here).getResult());
    load.erase();
    ++numLoads;
  }

  DenseSet<Value> device;
  Value flag;
  SmallVector<StringAttr> messages;
};
} // namespace
} // namespace mlir::megactx
