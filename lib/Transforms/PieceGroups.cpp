//===- PieceGroups.cpp - links that one kernel can take -------------------===//

#include "PieceGroups.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::megactx;
using pattern::Digits;
using pattern::Piece;

/// Whether the query rows of two pieces fall into the same classes.
static bool sameQueryView(const Digits &a, const Digits &b) {
  if (a.hasOneView() || b.hasOneView())
    return a.hasOneView() && b.hasOneView();
  if (a.period != b.period || a.classes.size() != b.classes.size())
    return false;
  for (auto [x, y] : llvm::zip(a.classes, b.classes))
    if (x.queries != y.queries)
      return false;
  return true;
}

/// Whether two links attend one source with the same queries.
static bool sameSource(AttentionLinkInterface a, AttentionLinkInterface b) {
  return a.getQuery() == b.getQuery() && a.getKey() == b.getKey() &&
         a.getValue() == b.getValue() &&
         llvm::equal(a.getBiases(), b.getBiases()) &&
         a.getLengths() == b.getLengths() &&
         a.getSegmentBounds() == b.getSegmentBounds() &&
         a.getQueryOffset() == b.getQueryOffset() &&
         a.getKeyOffset() == b.getKeyOffset() &&
         a.getQueryPositions() == b.getQueryPositions() &&
         a.getKeyPositions() == b.getKeyPositions() &&
         a.getScale() == b.getScale() && a.getSoftcap() == b.getSoftcap() &&
         a.getQueryStep() == b.getQueryStep() &&
         a.getKeyStep() == b.getKeyStep();
}

ArrayAttr PieceGroup::piecesAttr() const {
  MLIRContext *context = first->getContext();
  return Builder(context).getArrayAttr(
      llvm::map_to_vector(pieces, [&](const Piece &piece) -> Attribute {
        return PieceAttr::get(context, piece);
      }));
}

SmallVector<PieceGroup>
mlir::megactx::groupPieces(ArrayRef<AttentionLinkInterface> links, Side side) {
  auto viewOf = [&](const Piece &piece) {
    return side == Side::Queries ? piece.digits : piece.digits.transposed();
  };
  SmallVector<PieceGroup> groups;
  size_t sourceBegin = 0;
  for (AttentionLinkInterface link : links) {
    Piece piece = link.getPieceList().front();
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
    Digits view = viewOf(piece);
    auto group = std::find_if(begin, groups.end(), [&](const PieceGroup &g) {
      return sameQueryView(viewOf(g.pieces.front()), view);
    });
    if (group != groups.end())
      group->pieces.push_back(piece);
    else
      groups.insert(view.hasOneView() ? begin : groups.end(),
                    PieceGroup{link, {piece}});
  }
  return groups;
}

using Link = OnlineAttentionBackwardOp;

/// The link that alone goes on from all sums of queries of this one, and, where
/// it is of the same keys, from their sums; null where there is none.
static Link nextOf(Link link) {
  if (!link.getResult(0).hasOneUse())
    return {};
  auto next = dyn_cast<Link>(*link.getResult(0).getUsers().begin());
  if (!next || next.getDq() != link.getResult(0))
    return {};
  bool sameKeys = next.getDk() == link.getResult(1);
  if (sameKeys != (next.getDv() == link.getResult(2)))
    return {};
  if (sameKeys &&
      (!link.getResult(1).hasOneUse() || !link.getResult(2).hasOneUse()))
    return {};
  return next;
}

SmallVector<GradientLinks> mlir::megactx::gradientChains(Operation *root) {
  SmallVector<GradientLinks> chains;
  root->walk([&](Link first) {
    if (!first.hasPureTensorSemantics() || first.getDq().getDefiningOp<Link>())
      return;
    GradientLinks &links = chains.emplace_back();
    for (Link link = first; link; link = nextOf(link))
      links.push_back(link);
  });
  return chains;
}

/// The fused gradients of queries: sums of all links.
static unsigned fuseQueries(const GradientLinks &links,
                            RewriterBase &rewriter) {
  rewriter.setInsertionPoint(links.back());
  Link first = links.front(), last = links.back();
  Value dq = first.getDq();
  SmallVector<PieceGroup> groups = groupPieces(
      SmallVector<AttentionLinkInterface>(links.begin(), links.end()),
      Side::Queries);
  for (const PieceGroup &group : groups) {
    auto link = cast<Link>(*group.first);
    auto fused = FusedQueryGradientOp::create(
        rewriter, link.getLoc(), dq.getType(), link.getQuery(), link.getKey(),
        link.getValue(), link.getBiases(), link.getLengths(),
        link.getSegmentBounds(), link.getQueryOffset(), link.getKeyOffset(),
        link.getQueryPositions(), link.getKeyPositions(), link.getLse(),
        link.getDelta(), link.getDout(), dq, group.piecesAttr(),
        link.getScaleAttr(), link.getSoftcapAttr(), link.getQueryStepAttr(),
        link.getKeyStepAttr());
    dq = fused.getResult(0);
  }
  rewriter.replaceAllUsesWith(last.getResult(0), dq);
  return groups.size();
}

/// The fused gradients of keys and values: sums of links of the same ones.
static unsigned fuseKeys(ArrayRef<Link> links, RewriterBase &rewriter) {
  rewriter.setInsertionPoint(links.back());
  Link first = links.front();
  Value dk = first.getDk(), dv = first.getDv();
  SmallVector<PieceGroup> groups = groupPieces(
      SmallVector<AttentionLinkInterface>(links.begin(), links.end()),
      Side::Keys);
  for (const PieceGroup &group : groups) {
    auto link = cast<Link>(*group.first);
    auto fused = FusedKeyGradientOp::create(
        rewriter, link.getLoc(), TypeRange{dk.getType(), dv.getType()},
        link.getQuery(), link.getKey(), link.getValue(), link.getBiases(),
        link.getLengths(), link.getSegmentBounds(), link.getQueryOffset(),
        link.getKeyOffset(), link.getQueryPositions(), link.getKeyPositions(),
        link.getLse(), link.getDelta(), link.getDout(), dk, dv,
        group.piecesAttr(), link.getScaleAttr(), link.getSoftcapAttr(),
        link.getQueryStepAttr(), link.getKeyStepAttr());
    dk = fused.getResult(0);
    dv = fused.getResult(1);
  }
  Link last = links.back();
  rewriter.replaceAllUsesWith(last.getResult(1), dk);
  rewriter.replaceAllUsesWith(last.getResult(2), dv);
  return groups.size();
}

unsigned mlir::megactx::fuseGradients(const GradientLinks &links,
                                      RewriterBase &rewriter) {
  unsigned count = 0;
  for (auto begin = links.begin(); begin != links.end();) {
    auto end = std::next(begin);
    while (end != links.end() &&
           Link(*end).getDk() == Link(*std::prev(end)).getResult(1))
      ++end;
    count += fuseKeys(ArrayRef(begin, end), rewriter);
    begin = end;
  }
  count += fuseQueries(links, rewriter);
  for (Link link : llvm::reverse(links))
    rewriter.eraseOp(link);
  return count;
}
