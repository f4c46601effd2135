//===- PieceGroups.h - links that one kernel can take -----------*- C++ -*-===//

#ifndef MEGACTX_LIB_TRANSFORMS_PIECEGROUPS_H
#define MEGACTX_LIB_TRANSFORMS_PIECEGROUPS_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::megactx {

/// Whether a tensor is filled with an f32 of this value.
bool isFilledWith(Value value, float wanted);

/// Whose rows a kernel's tasks are blocks of.
enum class Side { Queries, Keys };

/// One kernel's worth: pieces of one source through which the rows of a side
/// are seen alike.
struct PieceGroup {
  AttentionLinkInterface first;
  SmallVector<pattern::Piece> pieces;
  ArrayAttr piecesAttr() const;
};

/// The groups in the order of their sources; within one, that of all rows comes
/// first.
SmallVector<PieceGroup> groupPieces(ArrayRef<AttentionLinkInterface> links,
                                    Side side);

/// The links of one attention's gradients, in order.
using GradientLinks = SmallVector<OnlineAttentionBackwardOp>;
/// All those whose sums go from one link to the next alone.
SmallVector<GradientLinks> gradientChains(Operation *root);
/// Replaces the links by fused gradients; returns how many.
unsigned fuseGradients(const GradientLinks &links, RewriterBase &rewriter);

} // namespace mlir::megactx

#endif
