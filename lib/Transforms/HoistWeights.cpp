//===- HoistWeights.cpp - big constants become arguments ------------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_HOISTWEIGHTSPASS
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

struct HoistWeights : impl::HoistWeightsPassBase<HoistWeights> {
  using HoistWeightsPassBase::HoistWeightsPassBase;

  void runOnOperation() override {
    auto function = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!function || function.isExternal())
      return;
    // Bufferization copies what is written to: inputs are their callers'.
    StringRef writable = bufferization::BufferizationDialect::kWritableAttrName;
    for (BlockArgument argument : function.getArguments())
      if (isa<TensorType>(argument.getType()) && !isOnlyRead(argument))
        function.setArgAttr(argument.getArgNumber(), writable,
                            BoolAttr::get(&getContext(), false));
    llvm::MapVector<Attribute, SmallVector<arith::ConstantOp>> weights;
    function.walk([&](arith::ConstantOp op) {
      auto elements = dyn_cast<ElementsAttr>(op.getValue());
      if (!elements || !isa<RankedTensorType>(elements.getType()))
        return;
      auto type = cast<ShapedType>(elements.getType());
      if (!type.getElementType().isIntOrFloat())
        return;
      int64_t bytes =
          type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8);
      if (bytes >= threshold)
        weights[elements].push_back(op);
    });
    for (auto &[value, ops] : weights) {
      unsigned number = function.getNumArguments();
      DictionaryAttr attrs = DictionaryAttr::get(
          &getContext(),
          {NamedAttribute(StringAttr::get(&getContext(), "megactx.weight"),
                          value),
           NamedAttribute(StringAttr::get(&getContext(), writable),
                          BoolAttr::get(&getContext(), false))});
      if (failed(function.insertArgument(number, ops.front().getType(), attrs,
                                         ops.front().getLoc())))
        return signalPassFailure();
      for (arith::ConstantOp op : ops) {
        op.replaceAllUsesWith(function.getArgument(number));
        op.erase();
      }
      ++numWeights;
    }
  }
};
} // namespace
} // namespace mlir::megactx
