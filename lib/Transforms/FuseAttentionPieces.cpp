//===- FuseAttentionPieces.cpp - from links to kernels --------------------===//
//
// A chain of online attention becomes fused attentions: links of one source
// whose rows are seen alike go into one, further ones accumulate onto its
// result.
//
//===----------------------------------------------------------------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include <limits>

namespace mlir::megactx {
#define GEN_PASS_DEF_FUSEATTENTIONPIECESPASS
#include "megactx/Transforms/Passes.h.inc"

using pattern::Digits;
using pattern::Piece;

namespace {
/// Whether the rows of two pieces fall into the same classes.
bool sameQueryView(const Piece &a, const Piece &b) {
  if (a.digits.hasOneView() || b.digits.hasOneView())
    return a.digits.hasOneView() && b.digits.hasOneView();
  if (a.digits.period != b.digits.period ||
      a.digits.classes.size() != b.digits.classes.size())
    return false;
  for (auto [x, y] : llvm::zip(a.digits.classes, b.digits.classes))
    if (x.queries != y.queries)
      return false;
  return true;
}

/// Whether two links attend one source with the same queries.
bool sameSource(OnlineAttentionOp a, OnlineAttentionOp b) {
  size_t operands = a->getNumOperands() - a.getNumDpsInits();
  return a->getNumOperands() == b->getNumOperands() &&
         a.getProperties().operandSegmentSizes ==
             b.getProperties().operandSegmentSizes &&
         llvm::equal(a->getOperands().take_front(operands),
                     b->getOperands().take_front(operands)) &&
         a.getScaleAttr() == b.getScaleAttr() &&
         a.getSoftcapAttr() == b.getSoftcapAttr() &&
         a.getQueryStep() == b.getQueryStep() &&
         a.getKeyStep() == b.getKeyStep();
}

bool isFilledWith(Value value, float wanted) {
  auto fill = value.getDefiningOp<linalg::FillOp>();
  FloatAttr scalar;
  return fill && matchPattern(fill.getInputs()[0], m_Constant(&scalar)) &&
         scalar.getType().isF32() &&
         scalar.getValue().convertToFloat() == wanted;
}

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

/// One kernel's worth: pieces of one source with one query view.
struct Group {
  OnlineAttentionOp first;
  SmallVector<Piece> pieces;
};

struct FuseAttentionPieces
    : impl::FuseAttentionPiecesPassBase<FuseAttentionPieces> {
  using FuseAttentionPiecesPassBase::FuseAttentionPiecesPassBase;

  void runOnOperation() override {
    SmallVector<FinishAttentionOp> ends;
    getOperation()->walk([&](FinishAttentionOp op) { ends.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (FinishAttentionOp finish : ends) {
      FailureOr<SmallVector<OnlineAttentionOp>> links = linksOf(finish);
      if (succeeded(links) && finish.hasPureTensorSemantics() &&
          llvm::all_of(*links,
                       [&](OnlineAttentionOp link) { return fits(link); }))
        fuse(finish, *links, rewriter);
      else
        ++numLeft;
    }
  }

  /// Whether kernels can be emitted for the link.
  bool fits(OnlineAttentionOp link) {
    auto isSmall = [&](Value rows) {
      auto type = cast<RankedTensorType>(rows.getType());
      return !type.isDynamicDim(3) && type.getDimSize(3) >= 1 &&
             type.getDimSize(3) <= maxHeadDim &&
             type.getDimSize(3) % headDimMultiple == 0;
    };
    return link.getOrigin().empty() &&
           (maxHeadDim == 0 ||
            (isSmall(link.getQuery()) && isSmall(link.getValue())));
  }

  /// The groups in the order of their sources; within one, that of all rows
  /// comes first: what follows accumulates on rows that are written.
  static SmallVector<Group> groupsOf(ArrayRef<OnlineAttentionOp> links) {
    SmallVector<Group> groups;
    size_t sourceBegin = 0;
    for (OnlineAttentionOp link : links) {
      Piece piece = link.getPiece().getPiece();
      // Views count rows in tokens: where rows stand otherwise, residues are
      // tested per element.
      if (link.getQueryStep() != 1 || link.getKeyStep() != 1 ||
          link.getQueryPositions() || link.getKeyPositions()) {
        if (!piece.digits.isIdentity())
          piece.test = piece.test && piece.digits.condition();
        piece.digits = Digits();
      }
      if (!groups.empty() && !sameSource(groups.back().first, link))
        sourceBegin = groups.size();
      auto begin = groups.begin() + sourceBegin;
      auto group = std::find_if(begin, groups.end(), [&](const Group &g) {
        return sameQueryView(g.pieces.front(), piece);
      });
      if (group != groups.end())
        group->pieces.push_back(piece);
      else
        groups.insert(piece.digits.hasOneView() ? begin : groups.end(),
                      Group{link, {piece}});
    }
    return groups;
  }

  void fuse(FinishAttentionOp finish, ArrayRef<OnlineAttentionOp> links,
            IRRewriter &rewriter) {
    rewriter.setInsertionPoint(finish);
    Location loc = finish.getLoc();
    Value out = finish.getOut(), lse = finish.getLse();
    bool accumulate = false;
    for (const Group &group : groupsOf(links)) {
      OnlineAttentionOp link = group.first;
      SmallVector<Attribute> pieces;
      for (const Piece &piece : group.pieces)
        pieces.push_back(PieceAttr::get(&getContext(), piece));
      auto fused = FusedAttentionOp::create(
          rewriter, loc, TypeRange{out.getType(), lse.getType()},
          link.getQuery(), link.getKey(), link.getValue(), link.getBiases(),
          link.getLengths(), link.getSegmentBounds(), link.getQueryOffset(),
          link.getKeyOffset(), link.getQueryPositions(), link.getKeyPositions(),
          out, lse, rewriter.getArrayAttr(pieces), link.getScaleAttr(),
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
};
} // namespace
} // namespace mlir::megactx
