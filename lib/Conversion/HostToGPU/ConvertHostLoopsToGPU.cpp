//===- ConvertHostLoopsToGPU.cpp - loops over elements of device memory ---===//
//
// A loop whose steps depend on those before, such as the edits of a working
// context, has no parallel form. On the host it would fetch every element that
// it reads; as a kernel of one thread it is slow, but does not wait. Batch rows
// that do not depend on each other get a block each.
//
//===----------------------------------------------------------------------===//

#include "FirstThread.h"
#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTHOSTLOOPSTOGPUPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
bool isMemory(Type type) { return isa<MemRefType>(type); }

/// Whether the op is a loop of arithmetic, control and single elements of
/// memory, which stays where it is and is not carried.
bool isKernelLoop(Operation *op) {
  if (!isa<scf::ForOp, scf::WhileOp>(op))
    return false;
  bool touches = false;
  WalkResult result = op->walk([&](Operation *inner) {
    if (isa<memref::LoadOp, memref::StoreOp>(inner)) {
      touches = true;
      return WalkResult::advance();
    }
    bool isControl = isa<scf::ForOp, scf::WhileOp, scf::IfOp, scf::YieldOp,
                         scf::ConditionOp>(inner);
    if (isControl && llvm::none_of(inner->getResultTypes(), isMemory))
      return WalkResult::advance();
    return !isControl && isPure(inner) ? WalkResult::advance()
                                       : WalkResult::interrupt();
  });
  return touches && !result.wasInterrupted();
}

/// The buffer that is accessed, through casts; null where it may be a part of
/// another. Buffers in an arena are apart while they are in use.
Value bufferOf(Value memory) {
  while (auto cast = memory.getDefiningOp<memref::CastOp>())
    memory = cast.getSource();
  auto view = memory.getDefiningOp<ViewLikeOpInterface>();
  return view && !isa<memref::ViewOp>(view.getOperation()) ? Value() : memory;
}

/// Whether no iteration touches what another writes: buffers that the loop
/// stores to are only accessed where the first index is the loop's.
bool hasOwnRows(scf::ForOp loop) {
  if (loop.getNumResults())
    return false;
  DenseSet<Value> stored;
  loop->walk([&](memref::StoreOp store) {
    stored.insert(bufferOf(store.getMemref()));
  });
  auto isOwn = [&](ValueRange at) {
    return !at.empty() && at[0] == loop.getInductionVar();
  };
  WalkResult result = loop->walk([&](Operation *op) {
    bool apart = true;
    if (auto store = dyn_cast<memref::StoreOp>(op))
      apart = bufferOf(store.getMemref()) && isOwn(store.getIndices());
    else if (auto load = dyn_cast<memref::LoadOp>(op)) {
      Value buffer = bufferOf(load.getMemref());
      apart = buffer && (!stored.contains(buffer) || isOwn(load.getIndices()));
    }
    return apart ? WalkResult::advance() : WalkResult::interrupt();
  });
  return !result.wasInterrupted();
}

struct ConvertHostLoopsToGPU
    : impl::ConvertHostLoopsToGPUPassBase<ConvertHostLoopsToGPU> {
  void runOnOperation() override {
    SmallVector<Operation *> loops;
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<gpu::LaunchOp>(op))
        return WalkResult::skip();
      if (!isKernelLoop(op))
        return WalkResult::advance();
      loops.push_back(op);
      return WalkResult::skip();
    });
    for (Operation *loop : loops)
      convert(loop);
  }

  /// Memory for a result; one element, and freed where the block ends.
  Value place(ImplicitLocOpBuilder &b, Type type) {
    Value memory = memref::AllocOp::create(b, MemRefType::get({}, type));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(b.getInsertionBlock()->getTerminator());
    memref::DeallocOp::create(b, memory);
    return memory;
  }

  void convert(Operation *op) {
    ImplicitLocOpBuilder b(op->getLoc(), op);
    SmallVector<Value> places;
    for (Type type : op->getResultTypes())
      places.push_back(place(b, type));
    auto loop = dyn_cast<scf::ForOp>(op);
    bool isParallel = loop && hasOwnRows(loop);
    Value blocks;
    if (isParallel) {
      Value span =
          arith::SubIOp::create(b, loop.getUpperBound(), loop.getLowerBound());
      blocks = arith::MaxSIOp::create(
          b, arith::CeilDivSIOp::create(b, span, loop.getStep()),
          arith::ConstantIndexOp::create(b, 0));
    }
    auto inside = [&](Value block) {
      IRMapping map;
      if (isParallel) {
        Value steps = arith::MulIOp::create(b, block, loop.getStep());
        map.map(loop.getInductionVar(),
                arith::AddIOp::create(b, loop.getLowerBound(), steps));
        for (Operation &inner : loop.getBody()->without_terminator())
          b.clone(inner, map);
        return;
      }
      Operation *copy = b.clone(*op, map);
      for (auto [result, memory] : llvm::zip_equal(copy->getResults(), places))
        memref::StoreOp::create(b, result, memory);
    };
    launchFirstThreads(b, "loop", inside, blocks);
    b.setInsertionPoint(op);
    for (auto [result, memory] : llvm::zip_equal(op->getResults(), places))
      result.replaceAllUsesWith(memref::LoadOp::create(b, memory).getResult());
    op->erase();
    ++numLoops;
  }
};
} // namespace
} // namespace mlir::megactx
