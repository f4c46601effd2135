//===- SimplifyDeallocs.cpp - one buffer for each dealloc -----------------===//

#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
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

bool isFalse(Value condition) { return matchPattern(condition, m_Zero()); }

/// Two allocations are two places in memory.
bool areApart(Value a, Value b) {
  return a != b && a.getDefiningOp<memref::AllocOp>() &&
         b.getDefiningOp<memref::AllocOp>();
}

/// What loops carry of owners where no step makes one: it is false to begin
/// with, and what a step gives on is made of such alone.
class NeverOwned {
public:
  explicit NeverOwned(Operation *root) {
    root->walk([&](scf::ForOp loop) {
      for (auto [i, init] : llvm::enumerate(loop.getInitArgs()))
        if (init.getType().isInteger(1))
          candidates.push_back({loop, i});
    });
    for (const Carried &carried : candidates)
      add(carried);
    while (removeOthers()) {
    }
  }

  void replaceWithFalse() {
    for (auto &[loop, i] : candidates) {
      if (!never.contains(loop.getRegionIterArg(i)))
        continue;
      OpBuilder b(loop);
      Value none =
          arith::ConstantIntOp::create(b, loop.getLoc(), b.getI1Type(), 0);
      loop.getRegionIterArg(i).replaceAllUsesWith(none);
      loop.getResult(i).replaceAllUsesWith(none);
    }
  }

private:
  using Carried = std::pair<scf::ForOp, unsigned>;

  void add(const Carried &carried) {
    auto [loop, i] = carried;
    never.insert(loop.getRegionIterArg(i));
    never.insert(loop.getResult(i));
  }

  bool isNever(Value condition) {
    if (isFalse(condition) || never.contains(condition))
      return true;
    auto op = condition.getDefiningOp<bufferization::DeallocOp>();
    return op && llvm::all_of(op.getConditions(), [&](Value one) {
             return isFalse(one) || never.contains(one);
           });
  }

  bool removeOthers() {
    bool removed = false;
    for (auto &[loop, i] : candidates)
      if (never.contains(loop.getRegionIterArg(i)) &&
          !(isNever(loop.getInitArgs()[i]) &&
            isNever(loop.getYieldedValues()[i]))) {
        never.erase(loop.getRegionIterArg(i));
        never.erase(loop.getResult(i));
        removed = true;
      }
    return removed;
  }

  SmallVector<Carried> candidates;
  llvm::DenseSet<Value> never;
};

struct SimplifyDeallocs : impl::SimplifyDeallocsPassBase<SimplifyDeallocs> {
  void runOnOperation() override {
    NeverOwned(getOperation()).replaceWithFalse();
    SmallVector<bufferization::DeallocOp> ops;
    getOperation()->walk(
        [&](bufferization::DeallocOp op) { ops.push_back(op); });
    for (bufferization::DeallocOp op : ops) {
      if (dropUnowned(op))
        continue;
      // Who owns what is retained would have to be told.
      if (op->use_empty() && dropRetained(op))
        continue;
      if (op.getMemrefs().size() > 1)
        split(op);
    }
  }

  /// What is never freed here. Whether nothing was left.
  bool dropUnowned(bufferization::DeallocOp op) {
    SmallVector<Value> memrefs, conditions;
    for (auto [memref, condition] :
         llvm::zip_equal(op.getMemrefs(), op.getConditions()))
      if (!isFalse(condition)) {
        memrefs.push_back(memref);
        conditions.push_back(condition);
      }
    numDropped += op.getMemrefs().size() - memrefs.size();
    if (memrefs.empty()) {
      OpBuilder b(op);
      Value none =
          arith::ConstantIntOp::create(b, op.getLoc(), b.getI1Type(), 0);
      for (Value owner : op.getUpdatedConditions())
        owner.replaceAllUsesWith(none);
      return op.erase(), true;
    }
    op.getMemrefsMutable().assign(memrefs);
    op.getConditionsMutable().assign(conditions);
    return false;
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
    SmallVector<Value> memrefs(op.getMemrefs());
    for (auto [number, memref, condition] :
         llvm::enumerate(memrefs, op.getConditions())) {
      Value frees = condition;
      Value place = memref::ExtractAlignedPointerAsIndexOp::create(b, memref);
      Value none = arith::ConstantIntOp::create(b, b.getI1Type(), 0);
      for (auto [another, other, freed] : llvm::zip_equal(
               ArrayRef(memrefs).take_front(number), places, before)) {
        if (areApart(memref, another))
          continue;
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
