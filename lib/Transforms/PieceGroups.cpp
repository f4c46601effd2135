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
