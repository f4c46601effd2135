//===- ConvertAttentionToLinalg.cpp - the generic lowering ----------------===//
//
// Online attention, its finish, level-of-detail ops and those on clusters of
// rows say themselves what they are in linalg (AggregatedOpInterface); this
// pass asks every one of them.
//
//===----------------------------------------------------------------------===//

#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTATTENTIONTOLINALGPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct ConvertAttentionToLinalg
    : impl::ConvertAttentionToLinalgPassBase<ConvertAttentionToLinalg> {
  void runOnOperation() override {
    SmallVector<linalg::AggregatedOpInterface> ops;
    getOperation()->walk([&](linalg::AggregatedOpInterface op) {
      if (isa_and_nonnull<MegaCtxDialect>(op->getDialect()))
        ops.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (linalg::AggregatedOpInterface op : ops) {
      rewriter.setInsertionPoint(op);
      FailureOr<SmallVector<Value>> values = op.decomposeOperation(rewriter);
      if (failed(values)) {
        op->emitOpError("expected tensors; convert before bufferization");
        return signalPassFailure();
      }
      rewriter.replaceOp(op, *values);
      ++numConverted;
    }
  }
};
} // namespace
} // namespace mlir::megactx
