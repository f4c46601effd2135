//===- UpdateInPlace.cpp - results where operands were --------------------===//

#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_UPDATEINPLACEPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// Whether a linalg op has computed the tensor into memory of its own.
bool isFresh(Value tensor) {
  auto op = tensor.getDefiningOp<linalg::LinalgOp>();
  if (!op || isa<linalg::FillOp>(op))
    return false;
  Value init = op.getTiedOpOperand(cast<OpResult>(tensor))->get();
  if (auto fill = init.getDefiningOp<linalg::FillOp>())
    init = fill.getOutputs()[0];
  return init.getDefiningOp<tensor::EmptyOp>() || isFresh(init);
}

/// Whether whoever else uses the tensor reads it before the op, and keeps
/// nothing of it.
bool isLastUse(Value tensor, linalg::GenericOp op) {
  return llvm::all_of(tensor.getUses(), [&](OpOperand &use) {
    Operation *user = use.getOwner();
    if (user == op)
      return op.getMatchingIndexingMap(&use).isIdentity();
    if (isa<tensor::DimOp>(user))
      return true;
    auto linalgOp = dyn_cast<linalg::LinalgOp>(user);
    return linalgOp && linalgOp.isDpsInput(&use) &&
           user->getBlock() == op->getBlock() && user->isBeforeInBlock(op);
  });
}

struct UpdateInPlace : impl::UpdateInPlacePassBase<UpdateInPlace> {
  void runOnOperation() override {
    getOperation()->walk([&](linalg::GenericOp op) {
      if (op.hasPureTensorSemantics() &&
          op.getNumParallelLoops() == op.getNumLoops() &&
          op.getNumDpsInits() == 1)
        update(op);
    });
  }

  void update(linalg::GenericOp op) {
    OpOperand &init = *op.getDpsInitOperand(0);
    if (!init.get().getDefiningOp<tensor::EmptyOp>() ||
        op.payloadUsesValueFromOperand(&init) ||
        !op.getMatchingIndexingMap(&init).isIdentity())
      return;
    for (OpOperand *input : op.getDpsInputOperands())
      if (input->get().getType() == init.get().getType() &&
          input->get().getParentBlock() == op->getBlock() &&
          isFresh(input->get()) && isLastUse(input->get(), op)) {
        init.set(input->get());
        ++numUpdates;
        return;
      }
  }
};
} // namespace
} // namespace mlir::megactx
