//===- ArenaPlan.h - where buffers lie in one allocation --------*- C++ -*-===//
//
// Owns the plan: which buffers share memory. It knows no IR.
//
// Buffers are boxes whose width is the time from first to last use and whose
// height is their size. Sizes are not known, but what they are for some choices
// of what they depend on is. Of packings that are good for one choice, the plan
// is the one that is best for all; of it, what holds for every choice is kept:
// of two buffers that live at the same time, which one is below. A buffer lies
// on those below it, at the greatest of their ends, whatever that is once sizes
// are known. So no two of them overlap, for any sizes, and where sizes are to
// one another as in the packing, no more memory is needed than by it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_ARENAPLAN_H
#define MEGACTX_TRANSFORMS_ARENAPLAN_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>

namespace mlir::megactx {

struct ArenaBuffer {
  int64_t first, last; ///< times of its first and last use, both included
  llvm::SmallVector<int64_t> bytes; ///< its size, for each choice
};

struct ArenaPlan {
  /// Buffers, each after all that it lies on.
  llvm::SmallVector<unsigned> order;
  /// Per buffer: on which it lies. Those that one of them lies on are left out.
  llvm::SmallVector<llvm::SmallVector<unsigned>> below;

  /// All buffers have the same choices, of which there is at least one.
  static ArenaPlan make(llvm::ArrayRef<ArenaBuffer> buffers);
};

} // namespace mlir::megactx

#endif
