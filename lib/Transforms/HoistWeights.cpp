//===- HoistWeights.cpp - big constants become arguments ------------------===//

#include "megactx/Support/StoredBytes.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_HOISTWEIGHTSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
struct HoistWeights : impl::HoistWeightsPassBase<HoistWeights> {
  using HoistWeightsPassBase::HoistWeightsPassBase;

  void runOnOperation() override {
    auto function = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!function || function.isExternal())
      return;
    llvm::MapVector<Attribute, SmallVector<arith::ConstantOp>> weights;
    function.walk([&](arith::ConstantOp op) {
      auto elements = dyn_cast<ElementsAttr>(op.getValue());
      if (!elements || !isa<RankedTensorType>(elements.getType()))
        return;
      auto type = cast<ShapedType>(elements.getType());
      if (!type.getElementType().isIntOrFloat())
        return;
      if (storedBytes(type) >= threshold)
        weights[elements].push_back(op);
    });
    for (auto &[value, ops] : weights) {
      unsigned number = function.getNumArguments();
      DictionaryAttr attrs = DictionaryAttr::get(
          &getContext(), NamedAttribute("megactx.weight", value));
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
