//===- DecomposePatterns.h - from patterns to pieces ------------*- C++ -*-===//

#ifndef MEGACTX_LIB_TRANSFORMS_DECOMPOSEPATTERNS_H
#define MEGACTX_LIB_TRANSFORMS_DECOMPOSEPATTERNS_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::megactx {

/// A source with the pieces of its pattern and the bounds of its segments, null
/// where it has none.
struct SourcePieces {
  SourceOp source;
  std::vector<pattern::Piece> pieces;
  Value segmentBounds;
};

/// Those of the operands of an attention or of its gradients, or an error. What
/// checks them at run time is emitted: sizes, then what rows of these hold.
template <typename Op>
FailureOr<SmallVector<SourcePieces>> decomposeSources(Op op,
                                                      RewriterBase &rewriter);
void eraseUnused(ValueRange sources, RewriterBase &rewriter);

/// The tensor with what is known of its shape: casts only forget.
Value withoutCasts(Value value);

/// Replaces the op by links of gradients; returns how many.
FailureOr<unsigned> decomposeBackward(AttentionBackwardOp op,
                                      RewriterBase &rewriter);

} // namespace mlir::megactx

#endif
