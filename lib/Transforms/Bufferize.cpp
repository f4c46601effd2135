//===- Bufferize.cpp - tensors as memrefs ---------------------------------===//

#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_BUFFERIZEPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// Numbers of slices whose bounds upstream's analysis would look for through
/// choices: in a time that doubles with each choice on the way.
class Choices {
public:
  /// Whether a choice, or a size that may be one, is on the way.
  bool leadsToOne(Value value) {
    auto [found, isNew] = known.try_emplace(value, false);
    if (!isNew)
      return found->second;
    Operation *op = value.getDefiningOp();
    bool leads = false;
    if (op)
      leads = isa<arith::SelectOp, arith::MinSIOp, arith::MaxSIOp,
                  arith::MinUIOp, arith::MaxUIOp, affine::AffineMinOp,
                  affine::AffineMaxOp, tensor::DimOp>(op) ||
              llvm::any_of(op->getOperands(), [&](Value operand) {
                return operand.getType().isIntOrIndex() && leadsToOne(operand);
              });
    return known[value] = leads;
  }

  /// A value that says nothing of how it is computed.
  Value hide(Value value) {
    Value &hidden = opaque[value];
    if (!hidden) {
      OpBuilder b(value.getContext());
      b.setInsertionPointAfterValue(value);
      hidden = UnrealizedConversionCastOp::create(b, value.getLoc(),
                                                  value.getType(), value)
                   .getResult(0);
    }
    return hidden;
  }

private:
  DenseMap<Value, bool> known;
  DenseMap<Value, Value> opaque;
};

/// What was hidden; it may be computed of memrefs now.
void show(ModuleOp module) {
  module.walk([](UnrealizedConversionCastOp cast) {
    if (cast->getNumOperands() != 1 || cast->getNumResults() != 1 ||
        cast.getOperand(0).getType() != cast.getResult(0).getType())
      return;
    cast.getResult(0).replaceAllUsesWith(cast.getOperand(0));
    cast.erase();
  });
}

struct Bufferize : impl::BufferizePassBase<Bufferize> {
  void runOnOperation() override {
    Choices choices;
    getOperation().walk([&](OffsetSizeAndStrideOpInterface slice) {
      for (OpOperand &operand : slice->getOpOperands())
        if (operand.get().getType().isIndex() &&
            choices.leadsToOne(operand.get()))
          operand.set(choices.hide(operand.get()));
    });
    bufferization::OneShotBufferizationOptions options;
    options.bufferizeFunctionBoundaries = true;
    // What a loop carries may be a new tensor each time.
    options.allowReturnAllocsFromLoops = true;
    options.setFunctionBoundaryTypeConversion(
        bufferization::LayoutMapOption::IdentityLayoutMap);
    bufferization::BufferizationState state;
    if (failed(bufferization::runOneShotModuleBufferize(getOperation(), options,
                                                        state)))
      return signalPassFailure();
    show(getOperation());
  }
};
} // namespace
} // namespace mlir::megactx
