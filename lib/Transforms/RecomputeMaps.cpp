//===- RecomputeMaps.cpp - maps of rows, computed where they are used -----===//

#include "Products.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_RECOMPUTEMAPSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
unsigned bitsOf(Value tensor) {
  Type type = getElementTypeOrSelf(tensor);
  return type.isIntOrFloat() ? type.getIntOrFloatBitWidth() : 64;
}

/// Whether the body computes from the operands' elements and the loops' indices
/// alone.
bool readsOperandsOnly(linalg::GenericOp op) {
  return llvm::all_of(op.getBody()->getOperations(), [](Operation &inside) {
    return isa<linalg::YieldOp, linalg::IndexOp>(inside) ||
           (isPure(&inside) && !isa<tensor::ExtractOp>(inside));
  });
}

/// Whether computing the map again reads no more bytes than its result has: at
/// most one operand is as large, in the same order, and its elements are no
/// wider.
bool isCheap(linalg::GenericOp map) {
  if (map.getNumParallelLoops() != map.getNumLoops() ||
      map.getNumResults() != 1 || map.getNumDpsInits() != 1 ||
      map.payloadUsesValueFromOperand(map.getDpsInitOperand(0)) ||
      !readsOperandsOnly(map))
    return false;
  AffineMap to = map.getMatchingIndexingMap(map.getDpsInitOperand(0));
  if (!to.isPermutation())
    return false;
  int64_t large = 0;
  for (OpOperand *input : map.getDpsInputOperands()) {
    AffineMap from = map.getMatchingIndexingMap(input);
    if (!from.isProjectedPermutation(/*allowZeroInResults=*/true))
      return false;
    if (llvm::count_if(from.getResults(), llvm::IsaPred<AffineDimExpr>) <
        int64_t(map.getNumLoops()))
      continue;
    if (from != to || ++large > 1 ||
        bitsOf(input->get()) > bitsOf(map.getResult(0)))
      return false;
  }
  return true;
}

/// The ops that computing an element takes. What takes a machine many
/// instructions, as an exponential, is many.
int64_t opsOf(linalg::GenericOp map) {
  constexpr int64_t kFunction = 16;
  int64_t count = 0;
  for (Operation &inside : map.getBody()->without_terminator()) {
    if (isa<linalg::IndexOp>(inside) ||
        inside.hasTrait<OpTrait::ConstantLike>())
      continue;
    bool isFunction =
        isa<math::MathDialect>(inside.getDialect()) &&
        !isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::CopySignOp,
             math::FloorOp, math::FmaOp, math::RoundEvenOp, math::RsqrtOp,
             math::SqrtOp, math::TruncOp>(inside);
    count += isFunction ? kFunction : 1;
  }
  return count;
}

/// Whether whatever uses the map can compute it: only then is it nowhere in
/// memory.
bool isUsedInFusableOps(linalg::GenericOp map) {
  return llvm::all_of(map->getUses(), [](OpOperand &use) {
    auto user = dyn_cast<linalg::GenericOp>(use.getOwner());
    return user && !isProduct(user) && user.isDpsInput(&use) &&
           linalg::areElementwiseOpsFusable(&use);
  });
}

struct RecomputeMaps : impl::RecomputeMapsPassBase<RecomputeMaps> {
  using RecomputeMapsPassBase::RecomputeMapsPassBase;

  void runOnOperation() override {
    if (failed(dropUnitDims()))
      return signalPassFailure();
    SmallVector<linalg::GenericOp> ops;
    getOperation()->walk([&](linalg::GenericOp op) { ops.push_back(op); });
    // The last ones first: their copies are users of those before.
    for (linalg::GenericOp op : llvm::reverse(ops))
      if (op.hasPureTensorSemantics() && !op->use_empty() && !op->hasOneUse() &&
          isCheap(op) && opsOf(op) <= mostOps && isUsedInFusableOps(op))
        copyToUses(op);
  }

  /// A reduction that keeps its dims is over the rows of its input itself, with
  /// no reshape in between.
  LogicalResult dropUnitDims() {
    RewritePatternSet patterns(&getContext());
    linalg::ControlDropUnitDims control;
    control.controlFn = [](Operation *op) -> SmallVector<unsigned> {
      auto generic = dyn_cast<linalg::GenericOp>(op);
      if (!generic || isProduct(op))
        return {};
      return llvm::to_vector(llvm::seq<unsigned>(0, generic.getNumLoops()));
    };
    linalg::populateFoldUnitExtentDimsPatterns(patterns, control);
    linalg::populateFoldUnitExtentDimsCanonicalizationPatterns(patterns,
                                                               control);
    return applyPatternsGreedily(getOperation(), std::move(patterns));
  }

  void copyToUses(linalg::GenericOp op) {
    for (OpOperand &use :
         llvm::make_early_inc_range(llvm::drop_begin(op->getUses()))) {
      OpBuilder b(use.getOwner());
      use.set(b.clone(*op)->getResult(0));
      ++numCopies;
    }
    ++numMaps;
  }
};
} // namespace
} // namespace mlir::megactx
