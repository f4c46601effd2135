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

/// Those of an operand of `op`, or an error; what checks the source's rows at
/// run time is emitted.
FailureOr<SourcePieces> decomposeSource(Operation *op, Value operand,
                                        RewriterBase &rewriter);
void eraseUnused(ValueRange sources, RewriterBase &rewriter);

/// The tensor with what is known of its shape: casts only forget.
Value withoutCasts(Value value);
/// A tensor of f32 with every element the value.
Value filled(RewriterBase &rewriter, Location loc, ArrayRef<OpFoldResult> sizes,
             float value);

/// Replaces the op by links of gradients; returns how many.
FailureOr<unsigned> decomposeBackward(AttentionBackwardOp op,
                                      RewriterBase &rewriter);

} // namespace mlir::megactx

#endif
