//===- Bufferization.cpp - attention from tensors to memrefs --------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"

using namespace mlir;
using namespace mlir::megactx;

/// Whether the op reads what its destinations hold.
static bool readsInits(FinishAttentionOp) { return false; }
static bool readsInits(OnlineAttentionOp) { return true; }
static bool readsInits(FusedAttentionOp op) { return op.getAccumulate(); }

namespace {
/// The same op on memrefs: its results are its destinations.
template <typename Op>
struct InDestinationStyle
    : bufferization::DstBufferizableOpInterfaceExternalModel<
          InDestinationStyle<Op>, Op> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand,
                              const bufferization::AnalysisState &) const {
    return !cast<Op>(op).isDpsInit(&operand) || readsInits(cast<Op>(op));
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const bufferization::BufferizationOptions &options,
                          bufferization::BufferizationState &state) const {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      if (!isa<TensorType>(operand.getType())) {
        operands.push_back(operand);
        continue;
      }
      FailureOr<Value> buffer =
          bufferization::getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      operands.push_back(*buffer);
    }
    OperationState newOp(op->getLoc(), op->getName(), operands, TypeRange(),
                         op->getAttrs());
    newOp.propertiesAttr = op->getPropertiesAsAttribute();
    rewriter.create(newOp);
    bufferization::replaceOpWithBufferizedValues(
        rewriter, op, ValueRange(operands).take_back(op->getNumResults()));
    return success();
  }
};
} // namespace

void mlir::megactx::registerBufferization(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, MegaCtxDialect *) {
    FinishAttentionOp::attachInterface<InDestinationStyle<FinishAttentionOp>>(
        *context);
    FusedAttentionOp::attachInterface<InDestinationStyle<FusedAttentionOp>>(
        *context);
    OnlineAttentionOp::attachInterface<InDestinationStyle<OnlineAttentionOp>>(
        *context);
  });
}
