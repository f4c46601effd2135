//===- Bufferization.cpp - fused attention from tensors to memrefs --------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
struct FusedAttention
    : bufferization::DstBufferizableOpInterfaceExternalModel<FusedAttention,
                                                             FusedAttentionOp> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand,
                              const bufferization::AnalysisState &) const {
    auto fused = cast<FusedAttentionOp>(op);
    return !fused.isDpsInit(&operand) || fused.getAccumulate();
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
        rewriter, op, ValueRange(operands).take_back(2));
    return success();
  }
};
} // namespace

void mlir::megactx::registerBufferization(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, MegaCtxDialect *) {
    FusedAttentionOp::attachInterface<FusedAttention>(*context);
  });
}
