//===- DropUpdatedResults.cpp - results that are arguments, updated -------===//

#include "megactx/Artifact/Artifact.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Utils/MemRefUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_DROPUPDATEDRESULTSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
struct DropUpdatedResults
    : impl::DropUpdatedResultsPassBase<DropUpdatedResults> {
  void runOnOperation() override {
    auto function = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!function || function.isExternal())
      return;
    llvm::BitVector dropped(function.getNumResults());
    SmallVector<Attribute> descriptions;
    auto end = cast<func::ReturnOp>(function.getBody().back().getTerminator());
    ImplicitLocOpBuilder b(end.getLoc(), end);
    for (unsigned i = 0; i < function.getNumResults(); ++i) {
      auto number = function.getResultAttrOfType<IntegerAttr>(i, kUpdatesAttr);
      if (!number)
        continue;
      uint64_t argument = number.getValue().getZExtValue();
      if (argument >= function.getNumArguments() ||
          !isa<MemRefType>(function.getArgumentTypes()[argument]) ||
          !isa<MemRefType>(function.getResultTypes()[i])) {
        function.emitError()
            << "result " << i << " updates argument " << number.getInt()
            << ", expected one that is a memref like it";
        return signalPassFailure();
      }
      dropped.set(i);
      descriptions.push_back(describe(b, function, i));
      writeTo(b, function.getArgument(argument), end.getOperand(i));
    }
    if (dropped.none())
      return;
    function->setAttr(kUpdatedAttr, b.getArrayAttr(descriptions));
    if (failed(function.eraseResults(dropped)))
      return signalPassFailure();
    end->eraseOperands(dropped);
    numDropped += dropped.count();
  }

  /// What an artifact says of a result that is gone.
  static Attribute describe(Builder &b, func::FuncOp function, unsigned i) {
    DictionaryAttr attrs = function.getResultAttrDict(i);
    return b.getDictionaryAttr(
        {b.getNamedAttr("attrs", attrs ? attrs : b.getDictionaryAttr({})),
         b.getNamedAttr("result", b.getI64IntegerAttr(i)),
         b.getNamedAttr("type", TypeAttr::get(function.getResultTypes()[i]))});
  }

  /// The values are there where bufferization could write in place.
  static void writeTo(ImplicitLocOpBuilder &b, Value argument, Value result) {
    if (memref::skipViewLikeOps(cast<MemrefValue>(result)) != argument)
      memref::CopyOp::create(b, result, argument);
  }
};
} // namespace
} // namespace mlir::megactx
