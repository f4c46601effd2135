//===- ConvertSCFToControlFlow.cpp - loops to branches --------------------===//
//
// Upstream's convert-scf-to-cf takes ops from the front: each moves all that
// follows it to a block of its own, and the record of that, by which it could
// be undone, of 20,000 loops in one function fills 20 GB. From the back, each
// moves what is before the next.
//
//===----------------------------------------------------------------------===//

#include "megactx/Conversion/Passes.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Iterators.h"
#include "mlir/Rewrite/PatternApplicator.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTSCFTOCONTROLFLOWPASS
#include "megactx/Conversion/Passes.h.inc"

/// Outer ones before inner ones, as upstream's patterns expect bodies of one
/// block, and of a block the last ones first.
static SmallVector<Operation *> structuredOps(Operation *root) {
  SmallVector<Operation *> ops;
  root->walk<WalkOrder::PreOrder, ReverseIterator>([&](Operation *op) {
    // Terminators go with what they end.
    if (isa<scf::SCFDialect>(op->getDialect()) &&
        !op->hasTrait<OpTrait::IsTerminator>())
      ops.push_back(op);
  });
  return ops;
}

namespace {
struct ConvertSCFToControlFlow
    : impl::ConvertSCFToControlFlowPassBase<ConvertSCFToControlFlow> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateSCFToControlFlowConversionPatterns(patterns);
    FrozenRewritePatternSet frozen(std::move(patterns));
    PatternApplicator applicator(frozen);
    applicator.applyDefaultCostModel();
    PatternRewriter rewriter(&getContext());
    // A parallel loop becomes sequential ones first.
    for (auto ops = structuredOps(getOperation()); !ops.empty();
         ops = structuredOps(getOperation()))
      for (Operation *op : ops) {
        rewriter.setInsertionPoint(op);
        if (failed(applicator.matchAndRewrite(op, rewriter))) {
          op->emitOpError("cannot become branches");
          return signalPassFailure();
        }
      }
  }
};
} // namespace
} // namespace mlir::megactx
