//===- TileLoader.h - rows of memory into tiles -----------------*- C++ -*-===//
//
// Owns how tiles get into shared memory: by cp.async, 16 bytes a thread at a
// time, from any view of rows.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_TILELOADER_H
#define MEGACTX_LIB_TARGET_NVGPU_TILELOADER_H

#include "../Common/Emit.h"
#include "Schedule.h"

namespace mlir::megactx::nvgpu {

/// A row of a memref [batch, head, row, column].
struct Row {
  Value batch, head, number;
};

/// Rows of a memref [batch, head, row, column], by numbers of their own.
struct RowSource {
  Value memory;
  int64_t columns;
  /// The row of a number; any number may be asked for.
  function_ref<Row(Value)> rowOf;
  /// Rows in memory from one number to the next, where that is the same for all
  /// and all are of one head.
  std::optional<int64_t> step;
};

class TileLoader {
public:
  TileLoader(ImplicitLocOpBuilder &b, const Tiling &tiling, Value thread)
      : b(b), a{b}, tiling(tiling), thread(thread) {}

  /// Starts a copy of the numbers [from, from + rows) to the rows of a tile
  /// from `row` on; numbers from `end` on, and columns that the source has not,
  /// become zero. All threads take part.
  void load(const RowSource &source, Value shared, const TileLayout &layout,
            Value row, int64_t rows, Value from, Value end);
  /// Closes a group of copies.
  void commit();
  /// Closes a group; of all groups of all threads, all but the last `left`
  /// have arrived then, and products may read them.
  void wait(int64_t left);

private:
  ImplicitLocOpBuilder &b;
  Arith a;
  const Tiling &tiling;
  Value thread;
};

} // namespace mlir::megactx::nvgpu

#endif
