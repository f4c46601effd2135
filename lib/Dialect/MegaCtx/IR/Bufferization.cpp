//===- Bufferization.cpp - ops from tensors to memrefs --------------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace mlir::megactx;

/// Whether the op reads what its destinations hold.
static bool readsInits(FinishAttentionOp) { return false; }
static bool readsInits(OnlineAttentionOp) { return true; }
static bool readsInits(FusedAttentionOp op) { return op.getAccumulate(); }
static bool readsInits(ProductOp) { return false; }

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

/// The same memory with its dims in another order.
struct AsTranspose
    : bufferization::BufferizableOpInterface::ExternalModel<AsTranspose,
                                                            TransposeViewOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const bufferization::AnalysisState &) const {
    return false;
  }

  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const bufferization::AnalysisState &) const {
    return false;
  }

  bufferization::AliasingValueList
  getAliasingValues(Operation *op, OpOperand &,
                    const bufferization::AnalysisState &) const {
    return {{op->getOpResult(0), bufferization::BufferRelation::Unknown}};
  }

  FailureOr<bufferization::BufferLikeType>
  getBufferType(Operation *op, Value,
                const bufferization::BufferizationOptions &options,
                const bufferization::BufferizationState &state,
                SmallVector<Value> &invocations) const {
    auto view = cast<TransposeViewOp>(op);
    FailureOr<bufferization::BufferLikeType> input =
        bufferization::getBufferType(view.getInput(), options, state,
                                     invocations);
    if (failed(input))
      return failure();
    auto type = cast<MemRefType>(*input);
    auto [strides, offset] = type.getStridesAndOffset();
    ArrayRef<int64_t> permutation = view.getPermutation();
    return cast<bufferization::BufferLikeType>(MemRefType::get(
        applyPermutation(type.getShape(), permutation), type.getElementType(),
        StridedLayoutAttr::get(op->getContext(), offset,
                               applyPermutation(strides, permutation)),
        type.getMemorySpace()));
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const bufferization::BufferizationOptions &options,
                          bufferization::BufferizationState &state) const {
    auto view = cast<TransposeViewOp>(op);
    FailureOr<Value> buffer =
        bufferization::getBuffer(rewriter, view.getInput(), options, state);
    if (failed(buffer))
      return failure();
    auto map = AffineMap::getPermutationMap(view.getPermutation(),
                                            rewriter.getContext());
    // What was transposed from a buffer is that buffer again, which is known to
    // be contiguous where strides of dynamic sizes are not.
    auto other = buffer->getDefiningOp<memref::TransposeOp>();
    if (other && other.getPermutation().compose(map).isIdentity()) {
      bufferization::replaceOpWithBufferizedValues(rewriter, op, other.getIn());
      return success();
    }
    bufferization::replaceOpWithNewBufferizedOp<memref::TransposeOp>(
        rewriter, op, *buffer, AffineMapAttr::get(map));
    return success();
  }
};

/// Upstream's op does not say that its result is a view.
struct TransposeAsView
    : ViewLikeOpInterface::ExternalModel<TransposeAsView, memref::TransposeOp> {
  Value getViewSource(Operation *op) const { return op->getOperand(0); }
  Value getViewDest(Operation *op) const { return op->getResult(0); }
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
    ProductOp::attachInterface<InDestinationStyle<ProductOp>>(*context);
    TransposeViewOp::attachInterface<AsTranspose>(*context);
  });
  registry.addExtension(+[](MLIRContext *context, memref::MemRefDialect *) {
    memref::TransposeOp::attachInterface<TransposeAsView>(*context);
  });
}
