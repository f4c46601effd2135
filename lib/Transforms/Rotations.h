//===- Rotations.h - halves of rows that turn with each other ---*- C++ -*-===//
//
// Owns how rotary embedding is found and written as one pass over its rows,
// whatever made of slices, products, sums and concatenations it comes as.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TRANSFORMS_ROTATIONS_H
#define MEGACTX_LIB_TRANSFORMS_ROTATIONS_H

#include "mlir/IR/PatternMatch.h"

namespace mlir::megactx {

/// What became of rotations.
struct RotationReport {
  /// One that is a single op now, where it stands, and how many ops on tensors
  /// it was.
  function_ref<void(Location, RankedTensorType, int64_t)> fused;
  /// One that is left, and why.
  function_ref<void(Location, StringRef)> missed;
};

/// Rewrites every value [.., 2 h] of the block whose halves are each computed,
/// element by element, from the same columns of both halves of one tensor, as
/// one linalg.generic over [.., 2, h], with the transposition of heads before
/// it where there is one.
void fuseRotations(Block &block, RewriterBase &rewriter,
                   const RotationReport &report);

} // namespace mlir::megactx

#endif
