//===- FuseAttentionPieces.cpp - from links to kernels --------------------===//
//
// A chain of online attention becomes fused attentions: links of one source
// whose rows are seen alike go into one, further ones accumulate onto its
// result.
//
//===----------------------------------------------------------------------===//

#include "FuseGradients.h"
#include "PieceGroups.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include <limits>

namespace mlir::megactx {
#define GEN_PASS_DEF_FUSEATTENTIONPIECESPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// The links from the start of a softmax to its end, in order; failure where
/// the state does not come from such a chain.
FailureOr<SmallVector<OnlineAttentionOp>> linksOf(FinishAttentionOp finish) {
  SmallVector<OnlineAttentionOp> links;
  Value acc = finish.getAcc(), max = finish.getMax(), sum = finish.getSum();
  while (auto link = acc.getDefiningOp<OnlineAttentionOp>()) {
    if (acc != link.getResult(0) || max != link.getResult(1) ||
        sum != link.getResult(2))
      return failure();
    links.push_back(link);
    acc = link.getAcc();
    max = link.getMax();
    sum = link.getSum();
  }
  if (!isFilledWith(acc, 0.0f) ||
      !isFilledWith(max, -std::numeric_limits<float>::infinity()) ||
      !isFilledWith(sum, 0.0f))
    return failure();
  std::reverse(links.begin(), links.end());
  return links;
}

struct FuseAttentionPieces
    : impl::FuseAttentionPiecesPassBase<FuseAttentionPieces> {
  using FuseAttentionPiecesPassBase::FuseAttentionPiecesPassBase;

  void runOnOperation() override {
    if (biasParts < 1) {
      getOperation()->emitError("expected at least one part of the gradient of "
                                "a bias, but got bias-parts=")
          << biasParts.getValue();
      return signalPassFailure();
    }
    SmallVector<FinishAttentionOp> ends;
    getOperation()->walk([&](FinishAttentionOp op) { ends.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (FinishAttentionOp finish : ends) {
      FailureOr<SmallVector<OnlineAttentionOp>> links = linksOf(finish);
      if (succeeded(links) && finish.hasPureTensorSemantics() &&
          llvm::all_of(*links, [&](OnlineAttentionOp link) {
            return link.getOrigin().empty() &&
                   fits(link, "attention", maxHeadDim);
          }))
        fuse(finish, *links, rewriter);
      else
        ++numLeft;
    }
    for (const GradientLinks &links : gradientChains(getOperation()))
      if (llvm::all_of(links, [&](OnlineAttentionBackwardOp link) {
            return fits(link, "attention's gradient", maxGradientDim);
          }))
        numFused += fuseGradients(links, biasParts, rewriter);
      else
        ++numLeft;
  }

  /// Whether kernels can be emitted for the link's head dims; warns if not.
  bool fits(AttentionLinkInterface link, StringRef what, int64_t most) {
    std::string fault = most == 0 ? "" : faultOfDims(link, most);
    if (!fault.empty())
      warn(link.getLoc(), what, fault);
    return fault.empty();
  }

  /// Why no kernel can be emitted for the link's head dims; empty if one can.
  std::string faultOfDims(AttentionLinkInterface link, int64_t most) {
    for (auto [what, rows] : {std::pair("queries and keys", link.getQuery()),
                              std::pair("values", link.getValue())}) {
      int64_t dim = cast<RankedTensorType>(rows.getType()).getDimSize(3);
      if (ShapedType::isDynamic(dim))
        return llvm::formatv("the head dim of {0} is not known", what);
      if (dim < 1 || dim > most || dim % headDimMultiple)
        return llvm::formatv("the head dim of {0} is {1}, kernels take {2}, "
                             "{3}, ... {4}",
                             what, dim, headDimMultiple.getValue(),
                             2 * headDimMultiple, most);
    }
    return "";
  }

  /// An attention is many chains where its heads have several patterns.
  void warn(Location loc, StringRef what, StringRef why) {
    if (warned[loc].insert(why).second)
      emitWarning(loc) << what << " has no kernel: " << why
                       << "; through linalg it is slow and has all scores in "
                          "memory";
  }

  void fuse(FinishAttentionOp finish, ArrayRef<OnlineAttentionOp> links,
            IRRewriter &rewriter) {
    rewriter.setInsertionPoint(finish);
    Location loc = finish.getLoc();
    Value out = finish.getOut(), lse = finish.getLse();
    bool accumulate = false;
    SmallVector<AttentionLinkInterface> all(links.begin(), links.end());
    for (const PieceGroup &group : groupPieces(all, Side::Queries)) {
      auto link = cast<OnlineAttentionOp>(*group.first);
      auto fused = FusedAttentionOp::create(
          rewriter, loc, TypeRange{out.getType(), lse.getType()},
          link.getQuery(), link.getKey(), link.getValue(), link.getBiases(),
          link.getLengths(), link.getSegmentBounds(), link.getQueryOffset(),
          link.getKeyOffset(), link.getQueryPositions(), link.getKeyPositions(),
          out, lse, group.piecesAttr(), link.getScaleAttr(),
          link.getSoftcapAttr(), link.getQueryStepAttr(), link.getKeyStepAttr(),
          accumulate ? rewriter.getUnitAttr() : UnitAttr());
      out = fused.getResult(0);
      lse = fused.getResult(1);
      accumulate = true;
      ++numFused;
    }
    if (!accumulate) {
      out = filled(rewriter, loc, out, 0.0);
      lse =
          filled(rewriter, loc, lse, -std::numeric_limits<double>::infinity());
    }
    rewriter.replaceOp(finish, {out, lse});
    for (OnlineAttentionOp link : llvm::reverse(links))
      if (link.use_empty())
        rewriter.eraseOp(link);
  }

  static Value filled(IRRewriter &rewriter, Location loc, Value init,
                      double value) {
    Type element = cast<RankedTensorType>(init.getType()).getElementType();
    Value scalar = arith::ConstantOp::create(
        rewriter, loc, rewriter.getFloatAttr(element, value));
    return linalg::FillOp::create(rewriter, loc, scalar, init).getResult(0);
  }

  DenseMap<Location, llvm::StringSet<>> warned; ///< why, by place
};
} // namespace
} // namespace mlir::megactx
