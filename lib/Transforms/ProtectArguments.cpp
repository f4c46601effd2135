//===- ProtectArguments.cpp - no argument is written to -------------------===//

#include "megactx/Artifact/Artifact.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_PROTECTARGUMENTSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// Whether no use of a tensor, as what it is or as another op's view or carried
/// value of it, can be a place that bufferization writes to.
bool isOnlyRead(Value tensor) {
  return llvm::all_of(tensor.getUses(), [](OpOperand &use) {
    Operation *user = use.getOwner();
    if (auto op = dyn_cast<DestinationStyleOpInterface>(user))
      return !op.isDpsInit(&use);
    if (isa<tensor::ExtractSliceOp, tensor::ExpandShapeOp,
            tensor::CollapseShapeOp, tensor::CastOp, TransposeViewOp>(user))
      return isOnlyRead(user->getResult(0));
    if (auto loop = dyn_cast<scf::ForOp>(user))
      return isOnlyRead(loop.getTiedLoopRegionIterArg(&use)) &&
             isOnlyRead(loop.getTiedLoopResult(&use));
    return isa<tensor::DimOp, tensor::ExtractOp, func::ReturnOp>(user);
  });
}

struct ProtectArguments : impl::ProtectArgumentsPassBase<ProtectArguments> {
  void runOnOperation() override {
    auto function = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!function || function.isExternal())
      return;
    llvm::SmallDenseSet<int64_t> updated;
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (auto number =
              function.getResultAttrOfType<IntegerAttr>(i, kUpdatesAttr))
        updated.insert(number.getInt());
    for (BlockArgument argument : function.getArguments()) {
      unsigned number = argument.getArgNumber();
      if (updated.contains(number) || !isa<TensorType>(argument.getType()) ||
          (!function.getArgAttr(number, "megactx.weight") &&
           isOnlyRead(argument)))
        continue;
      function.setArgAttr(
          number, bufferization::BufferizationDialect::kWritableAttrName,
          BoolAttr::get(&getContext(), false));
      ++numProtected;
    }
  }
};
} // namespace
} // namespace mlir::megactx
