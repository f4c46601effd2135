//===- SimplifyDeallocs.cpp - one buffer for each dealloc -----------------===//

#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_SIMPLIFYDEALLOCSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// What a buffer is a view of, as far as ops say.
Value originOf(Value buffer) {
  while (Operation *op = buffer.getDefiningOp()) {
    if (auto view = dyn_cast<ViewLikeOpInterface>(op))
      buffer = view.getViewSource();
    else if (auto parts = dyn_cast<memref::ExtractStridedMetadataOp>(op);
             parts && buffer == parts.getBaseBuffer())
      buffer = parts.getSource();
    else
      break;
  }
  return buffer;
}

struct SimplifyDeallocs : impl::SimplifyDeallocsPassBase<SimplifyDeallocs> {
  void runOnOperation() override {
    SmallVector<bufferization::DeallocOp> ops;
    getOperation()->walk(
        [&](bufferization::DeallocOp op) { ops.push_back(op); });
    for (bufferization::DeallocOp op : ops) {
      // Who owns what is retained would have to be told.
      if (op->use_empty() && dropRetained(op))
        continue;
      if (op.getMemrefs().size() > 1)
        split(op);
    }
  }

  /// Whether nothing was left.
  bool dropRetained(bufferization::DeallocOp op) {
    llvm::DenseSet<Value> retained;
    for (Value buffer : op.getRetained())
      retained.insert(originOf(buffer));
    SmallVector<Value> memrefs, conditions;
    for (auto [memref, condition] :
         llvm::zip_equal(op.getMemrefs(), op.getConditions()))
      if (!retained.contains(originOf(memref))) {
        memrefs.push_back(memref);
        conditions.push_back(condition);
      }
    numDropped += op.getMemrefs().size() - memrefs.size();
    if (memrefs.empty())
      return op.erase(), true;
    op.getMemrefsMutable().assign(memrefs);
    op.getConditionsMutable().assign(conditions);
    return false;
  }

  /// What is one memory with a buffer before, which is freed, is not freed
  /// again; it owns what is retained where any of them does.
  void split(bufferization::DeallocOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    SmallVector<Value> places, before, owners;
    for (auto [memref, condition] :
         llvm::zip_equal(op.getMemrefs(), op.getConditions())) {
      Value frees = condition;
      Value place = memref::ExtractAlignedPointerAsIndexOp::create(b, memref);
      Value none = arith::ConstantIntOp::create(b, b.getI1Type(), 0);
      for (auto [other, freed] : llvm::zip_equal(places, before)) {
        Value isOther =
            arith::CmpIOp::create(b, arith::CmpIPredicate::ne, place, other);
        Value isFirst = arith::SelectOp::create(
            b, freed, isOther,
            arith::ConstantIntOp::create(b, b.getI1Type(), 1));
        frees = arith::SelectOp::create(b, isFirst, frees, none);
      }
      places.push_back(place);
      before.push_back(condition);
      auto one =
          bufferization::DeallocOp::create(b, memref, frees, op.getRetained());
      if (owners.empty())
        owners = one.getUpdatedConditions();
      else
        for (auto [owner, also] :
             llvm::zip_equal(owners, one.getUpdatedConditions()))
          owner = arith::OrIOp::create(b, owner, also);
    }
    op.replaceAllUsesWith(owners);
    op.erase();
    ++numSplit;
  }
};
} // namespace
} // namespace mlir::megactx
