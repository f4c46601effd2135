//===- SeparateInits.cpp - a destination of its own for every op ----------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/LoopLikeInterface.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_SEPARATEINITSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
struct SeparateInits : impl::SeparateInitsPassBase<SeparateInits> {
  void runOnOperation() override {
    SmallVector<OpOperand *> inits;
    auto add = [&](MutableArrayRef<OpOperand> of) {
      for (OpOperand &init : of)
        inits.push_back(&init);
    };
    getOperation()->walk([&](Operation *op) {
      if (auto made = dyn_cast<DestinationStyleOpInterface>(op))
        add(made.getDpsInitsMutable());
      else if (auto loop = dyn_cast<LoopLikeOpInterface>(op))
        add(loop.getInitsMutable());
    });
    for (OpOperand *init : inits)
      separate(*init);
  }

  /// Clones what makes the value, back to tensor.empty, where others use it.
  void separate(OpOperand &use) {
    Operation *def = use.get().getDefiningOp();
    if (!def ||
        !isa<tensor::EmptyOp, linalg::FillOp, tensor::ExpandShapeOp,
             tensor::CollapseShapeOp, tensor::CastOp, TransposeViewOp>(def))
      return;
    if (!startsEmpty(def))
      return;
    if (!use.get().hasOneUse()) {
      OpBuilder b(use.getOwner());
      Operation *clone = b.clone(*def);
      use.set(clone->getResult(0));
      def = clone;
      ++numClones;
    } else if (def->getBlock() == use.getOwner()->getBlock()) {
      // What is filled far ahead would be memory that is kept.
      def->moveBefore(use.getOwner());
    }
    if (!isa<tensor::EmptyOp>(def))
      separate(isa<linalg::FillOp>(def)
                   ? cast<linalg::FillOp>(def).getDpsInitsMutable()[0]
                   : def->getOpOperand(0));
  }

  static bool startsEmpty(Operation *op) {
    while (op &&
           isa<linalg::FillOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp,
               tensor::CastOp, TransposeViewOp>(op)) {
      Value from = isa<linalg::FillOp>(op)
                       ? cast<linalg::FillOp>(op).getOutputs()[0]
                       : op->getOperand(0);
      op = from.getDefiningOp();
    }
    return isa_and_nonnull<tensor::EmptyOp>(op);
  }
};
} // namespace
} // namespace mlir::megactx
