//===- DecomposePatterns.cpp - from patterns to pieces --------------------===//
//
// Each source's pattern becomes disjoint pieces, each piece a link of one chain
// of online attention.
//
//===----------------------------------------------------------------------===//

#include "DecomposePatterns.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "megactx/Pattern/SegmentBounds.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include <limits>

namespace mlir::megactx {
#define GEN_PASS_DEF_DECOMPOSEPATTERNSPASS
#include "megactx/Transforms/Passes.h.inc"

using pattern::Piece;

Value withoutCasts(Value value) {
  while (auto cast = value.getDefiningOp<tensor::CastOp>()) {
    auto from = dyn_cast<RankedTensorType>(cast.getSource().getType());
    auto to = cast.getType();
    if (!from || !tensor::preservesStaticInformation(to, from))
      break;
    value = cast.getSource();
  }
  return value;
}

/// Ids of segments that do not decrease bound keys. A pattern may speak of them
/// although none of its pieces does.
static LogicalResult boundSegments(SourceOp source,
                                   std::vector<Piece> &pieces) {
  for (Piece &piece : pieces)
    if (!pattern::boundSegments(piece))
      return source.emitOpError(
          "expected 'segments' in an 'and', or in an 'or' "
          "with windows or first keys, not taken away "
          "nor beside strides, blocks or columns");
  bool isRead = llvm::any_of(pieces, pattern::readsSegments);
  if (isRead && !source.getSegments())
    return source.emitOpError("'segments' needs segment ids, which "
                              "this source does not have");
  const pattern::Pattern &pattern = source.getPattern().getPattern();
  if (source.getSegments() &&
      !pattern::speaksOfSegments(pattern, source.getKeyStep()))
    return source.emitOpError("has segment ids, which its pattern '")
           << pattern.str() << "' does not read";
  return success();
}

/// The pieces of a source's pattern, for so many heads.
static FailureOr<SourcePieces> piecesOf(Operation *op, Value operand,
                                        int64_t heads) {
  auto source = operand.getDefiningOp<SourceOp>();
  if (!source)
    return op->emitOpError("expected sources made by megactx.source");
  std::string error;
  pattern::Formula formula =
      source.getPattern().getPattern().formula(source.getKeyStep());
  auto pieces = expand(formula, error,
                       ShapedType::isDynamic(heads) ? std::nullopt
                                                    : std::optional(heads));
  if (!pieces)
    return source.emitOpError(error);
  if (failed(boundSegments(source, *pieces)))
    return failure();
  return SourcePieces{source, std::move(*pieces), Value()};
}

template <typename Op>
FailureOr<SmallVector<SourcePieces>> decomposeSources(Op op,
                                                      RewriterBase &rewriter) {
  SmallVector<SourcePieces> all;
  int64_t heads = cast<RankedTensorType>(withoutCasts(op.getQuery()).getType())
                      .getDimSize(1);
  for (Value operand : op.getSources()) {
    FailureOr<SourcePieces> source = piecesOf(op, operand, heads);
    if (failed(source))
      return failure();
    all.push_back(std::move(*source));
  }
  emitCheckSizes(rewriter, op);
  for (auto &[source, pieces, segmentBounds] : all) {
    if (source.getPositions())
      emitCheckAscending(rewriter, op.getLoc(), source.getPositions(),
                         source.getLengths(), "the positions of keys");
    if (llvm::any_of(pieces, pattern::readsSegments))
      segmentBounds = emitSegmentBounds(
          rewriter, op.getLoc(), source.getSegments(), source.getLengths());
  }
  return all;
}

template FailureOr<SmallVector<SourcePieces>>
decomposeSources(AttentionOp op, RewriterBase &rewriter);
template FailureOr<SmallVector<SourcePieces>>
decomposeSources(AttentionBackwardOp op, RewriterBase &rewriter);

void eraseUnused(ValueRange sources, RewriterBase &rewriter) {
  for (Value source : sources)
    if (source.use_empty() && source.getDefiningOp())
      rewriter.eraseOp(source.getDefiningOp());
}

namespace {
struct DecomposePatterns : impl::DecomposePatternsPassBase<DecomposePatterns> {
  void runOnOperation() override {
    SmallVector<AttentionOp> attentions;
    SmallVector<AttentionBackwardOp> backward;
    getOperation()->walk([&](AttentionOp op) { attentions.push_back(op); });
    getOperation()->walk(
        [&](AttentionBackwardOp op) { backward.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (AttentionOp op : attentions)
      if (failed(decompose(op, rewriter)))
        return signalPassFailure();
    for (AttentionBackwardOp op : backward) {
      FailureOr<unsigned> links = decomposeBackward(op, rewriter);
      if (failed(links))
        return signalPassFailure();
      numPieces += *links;
      ++numChains;
    }
  }

  LogicalResult decompose(AttentionOp op, IRRewriter &rewriter) {
    rewriter.setInsertionPoint(op);
    FailureOr<SmallVector<SourcePieces>> sources =
        decomposeSources(op, rewriter);
    if (failed(sources))
      return failure();
    Location loc = op.getLoc();
    Emitter b(loc, rewriter);
    Value query = withoutCasts(op.getQuery());
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(rewriter, loc, query);
    SmallVector<OpFoldResult> rowSizes(ArrayRef(sizes).take_front(3));
    sizes[3] = tensor::getMixedSize(
        rewriter, loc, withoutCasts(sources->front().source.getValue()), 3);
    auto number = [&](float value) -> Value {
      return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
    };
    Value zero = number(0.0f);
    Value least = number(-std::numeric_limits<float>::infinity());
    SmallVector<Value> state = {b.filled(sizes, zero),
                                b.filled(rowSizes, least),
                                b.filled(rowSizes, zero)};
    for (auto &[source, pieces, bounds] : *sources) {
      for (const Piece &piece : pieces) {
        auto link = OnlineAttentionOp::create(
            rewriter, loc, TypeRange(ValueRange(state)), query,
            withoutCasts(source.getKey()), withoutCasts(source.getValue()),
            source.getBiases(), source.getLengths(), bounds, op.getOffset(),
            source.getOffset(), op.getPositions(), source.getPositions(),
            /*origin=*/ValueRange(), state[0], state[1], state[2],
            PieceAttr::get(&getContext(), piece), op.getScaleAttr(),
            op.getSoftcapAttr(), op.getQueryStepAttr(),
            source.getKeyStepAttr());
        state.assign(link->result_begin(), link->result_end());
        ++numPieces;
      }
    }
    finish(op, rewriter, sizes, state);
    return success();
  }

  void finish(AttentionOp op, IRRewriter &rewriter,
              ArrayRef<OpFoldResult> sizes, ValueRange state) {
    Location loc = op.getLoc();
    Type element = op.getOut().getType().getElementType();
    Value out = tensor::EmptyOp::create(rewriter, loc, sizes, element);
    Value lse = tensor::EmptyOp::create(rewriter, loc, sizes.take_front(3),
                                        rewriter.getF32Type());
    auto last = FinishAttentionOp::create(
        rewriter, loc, TypeRange{out.getType(), lse.getType()}, state[0],
        state[1], state[2], out, lse);
    SmallVector<Value> results;
    for (auto [result, wanted] : llvm::zip(last.getResults(), op.getResults()))
      results.push_back(
          result.getType() == wanted.getType()
              ? Value(result)
              : tensor::CastOp::create(rewriter, loc, wanted.getType(), result)
                    .getResult());
    SmallVector<Value> sources(op.getSources());
    rewriter.replaceOp(op, results);
    eraseUnused(sources, rewriter);
    ++numChains;
  }
};
} // namespace
} // namespace mlir::megactx
