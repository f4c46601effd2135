//===- ArenaPlan.h - where buffers lie in one allocation --------*- C++ -*-===//
//
// Owns the plan: which buffers share memory. It knows no IR.
//
// Sizes are symbolic. What two of them have in common is a unit, such as
// 64 bytes for each token: buffers that are whole multiples of one unit can be
// compared for every length. They are packed like boxes whose width is the time
// from first to last use and whose height is the number of units. Boxes that
// are chained by overlapping in time make up a region. How regions of different
// units compare is not known; a region lies on top of all regions below it that
// live at the same time, at the greatest of their ends, whatever that is once
// sizes are known. So regions that do not live at the same time share memory
// without being compared.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_ARENAPLAN_H
#define MEGACTX_TRANSFORMS_ARENAPLAN_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>

namespace mlir::megactx {

struct ArenaBuffer {
  unsigned unit;       ///< which unit its size is a multiple of
  int64_t count;       ///< its size in units
  int64_t first, last; ///< times of its first and last use, both included
};

struct ArenaRegion {
  unsigned unit;
  int64_t count;       ///< its height in units
  int64_t first, last; ///< from the first use of its buffers to the last
  llvm::SmallVector<unsigned> below; ///< regions, of smaller number, it lies on
};

struct ArenaPlace {
  unsigned region;
  int64_t offset; ///< units from the region's start
};

struct ArenaPlan {
  llvm::SmallVector<ArenaRegion> regions;
  llvm::SmallVector<ArenaPlace> places; ///< per buffer

  /// Buffers that are live at the same time never share memory, whatever the
  /// units' sizes.
  static ArenaPlan make(llvm::ArrayRef<ArenaBuffer> buffers);
};

} // namespace mlir::megactx

#endif
