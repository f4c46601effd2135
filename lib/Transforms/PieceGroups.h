//===- PieceGroups.h - links that one kernel can take -----------*- C++ -*-===//

#ifndef MEGACTX_LIB_TRANSFORMS_PIECEGROUPS_H
#define MEGACTX_LIB_TRANSFORMS_PIECEGROUPS_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

namespace mlir::megactx {

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

} // namespace mlir::megactx

#endif
