//===- Bufferization.cpp - ops from tensors to memrefs --------------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
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
static bool readsInits(OnlineAttentionBackwardOp) { return true; }
static bool readsInits(FusedQueryGradientOp) { return true; }
static bool readsInits(FusedKeyGradientOp) { return true; }
static bool readsInits(FusedBiasGradientOp) { return true; }
static bool readsInits(FusedAttentionOp op) { return op.getAccumulate(); }
static bool readsInits(ProductOp) { return false; }
static bool readsInits(PackedProductOp) { return false; }
static bool readsInits(ConvolutionOp) { return false; }
static bool readsInits(TopKOp) { return false; }

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

template <typename... Ops> void attachDestinationStyle(MLIRContext *context) {
  (Ops::template attachInterface<InDestinationStyle<Ops>>(*context), ...);
}

/// An op whose result is its first operand's memory, seen otherwise: of the
/// type that `Self::typeOf` has for the operand's.
template <typename Self, typename Op>
struct AsView
    : bufferization::BufferizableOpInterface::ExternalModel<Self, Op> {
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
    FailureOr<bufferization::BufferLikeType> input =
        bufferization::getBufferType(op->getOperand(0), options, state,
                                     invocations);
    if (failed(input))
      return failure();
    return cast<bufferization::BufferLikeType>(
        Self::typeOf(cast<Op>(op), cast<MemRefType>(*input)));
  }
};

/// The same memory with its dims in another order.
struct AsTranspose : AsView<AsTranspose, TransposeViewOp> {
  static MemRefType typeOf(TransposeViewOp view, MemRefType input) {
    auto [strides, offset] = input.getStridesAndOffset();
    ArrayRef<int64_t> permutation = view.getPermutation();
    return MemRefType::get(
        applyPermutation(input.getShape(), permutation), input.getElementType(),
        StridedLayoutAttr::get(view.getContext(), offset,
                               applyPermutation(strides, permutation)),
        input.getMemorySpace());
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

/// Rows that overlap: row i starts one element before row i - 1.
struct AsToeplitz : AsView<AsToeplitz, ToeplitzViewOp> {
  bool isWritable(Operation *, Value,
                  const bufferization::AnalysisState &) const {
    return false;
  }

  static MemRefType typeOf(ToeplitzViewOp view, MemRefType table) {
    constexpr int64_t any = ShapedType::kDynamic;
    SmallVector<int64_t> strides = table.getStridesAndOffset().first;
    int64_t last = strides.back();
    strides.insert(strides.end() - 1, last == any ? any : -last);
    return MemRefType::get(
        view.getResult().getType().getShape(), table.getElementType(),
        StridedLayoutAttr::get(view.getContext(), any, strides),
        table.getMemorySpace());
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const bufferization::BufferizationOptions &options,
                          bufferization::BufferizationState &state) const {
    auto view = cast<ToeplitzViewOp>(op);
    FailureOr<Value> table =
        bufferization::getBuffer(rewriter, view.getTable(), options, state);
    if (failed(table))
      return failure();
    ImplicitLocOpBuilder b(op->getLoc(), rewriter);
    auto data = memref::ExtractStridedMetadataOp::create(b, *table);
    MemRefType type = typeOf(view, cast<MemRefType>(table->getType()));
    SmallVector<int64_t> staticStrides = type.getStridesAndOffset().first;
    SmallVector<Value> sizes(data.getSizes().drop_back());
    sizes.append({view.getRows(), view.getColumns()});
    SmallVector<Value> strides(data.getStrides());
    Value one = strides.back();
    Value zero = arith::ConstantIndexOp::create(b, 0);
    strides.insert(strides.end() - 1, arith::SubIOp::create(b, zero, one));
    Value above = arith::SubIOp::create(b, view.getRows(),
                                        arith::ConstantIndexOp::create(b, 1));
    Value first = arith::AddIOp::create(b, data.getOffset(),
                                        arith::MulIOp::create(b, above, one));
    auto mixed = [&](ArrayRef<int64_t> known, ArrayRef<Value> values) {
      SmallVector<OpFoldResult> result;
      for (auto [number, value] : llvm::zip_equal(known, values))
        result.push_back(number == ShapedType::kDynamic
                             ? OpFoldResult(value)
                             : rewriter.getIndexAttr(number));
      return result;
    };
    Value result = memref::ReinterpretCastOp::create(
        b, type, *table, first, mixed(type.getShape(), sizes),
        mixed(staticStrides, strides));
    bufferization::replaceOpWithBufferizedValues(rewriter, op, result);
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
    attachDestinationStyle<
        FinishAttentionOp, OnlineAttentionOp, FusedAttentionOp,
        OnlineAttentionBackwardOp, FusedQueryGradientOp, FusedKeyGradientOp,
        FusedBiasGradientOp, ProductOp, PackedProductOp, ConvolutionOp, TopKOp>(
        context);
    TransposeViewOp::attachInterface<AsTranspose>(*context);
    ToeplitzViewOp::attachInterface<AsToeplitz>(*context);
  });
  registry.addExtension(+[](MLIRContext *context, memref::MemRefDialect *) {
    memref::TransposeOp::attachInterface<TransposeAsView>(*context);
  });
}
