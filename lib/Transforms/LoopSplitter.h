//===- LoopSplitter.h - a loop for each slice of its tensors ----*- C++ -*-===//
//
// Owns how a loop is done for each slice of what it carries, in parallel. Knows
// nothing of which slices are worth it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TRANSFORMS_LOOPSPLITTER_H
#define MEGACTX_LIB_TRANSFORMS_LOOPSPLITTER_H

#include "LoopSlices.h"

namespace mlir::megactx {

/// A dim in which slices are cut, `width` elements each, of which its size is a
/// multiple.
struct Cut {
  LoopSlices slices;
  int64_t width;
  Value extent = {}; ///< of all slices
  Value offset = {}; ///< of the slice at hand
};

/// Whether steps do nothing with a carried tensor but to put a part into it.
bool isStacked(scf::ForOp loop, unsigned number);

/// Does the loop for each slice, in parallel; at least one carried tensor is
/// not stacked. Where the loop turns out to have one step it is done as it is.
void splitLoop(scf::ForOp loop, SmallVector<Cut> cuts);

} // namespace mlir::megactx

#endif
