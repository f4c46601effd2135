//===- SharedMemory.h - what a block has in shared memory -------*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_SHAREDMEMORY_H
#define MEGACTX_LIB_TARGET_NVGPU_SHAREDMEMORY_H

#include "Tiling.h"

namespace mlir::megactx::nvgpu {

/// Gives out the bytes of a block's tiling, one after the other.
class SharedMemory {
public:
  SharedMemory(ImplicitLocOpBuilder &b, const Tiling &tiling, Type element);

  /// Null where the tile has no rows.
  Value tile(const TileLayout &layout);
  /// memref<count x type>; null of none.
  Value words(int64_t count, Type type);

private:
  Value view(ArrayRef<int64_t> shape, Type type, int64_t bytes);

  ImplicitLocOpBuilder &b;
  Type element;
  Value memory;
  int64_t at = 0;
};

} // namespace mlir::megactx::nvgpu

#endif
