//===- TileLoader.h - rows of memory into tiles -----------------*- C++ -*-===//
//
// Owns how tiles get into shared memory. There are two ways: by cp.async, 16
// bytes a thread at a time, from any view of rows; and by the tensor memory
// accelerator, a box of a tensor map at a time, from rows that follow each
// other in memory.
//
// Copies come in groups, numbered from 0 on: one for each turn of a loop over
// tiles, begun stages - 1 turns ahead. Numbers are carried modulo ring().
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
  /// The tensor map of the memory, where there is one.
  Value map;
};

/// Orders what threads wrote to shared memory before what the accelerator and
/// wgmma do after, which go through another proxy.
void fenceProxy(ImplicitLocOpBuilder &b);

class TileLoader {
public:
  virtual ~TileLoader() = default;

  /// Starts a copy of the numbers [from, from + rows) to the rows of a tile
  /// from `row` on; numbers from `end` on, and columns that the source has not,
  /// become zero, by the end of `clear` at the latest.
  virtual void load(const RowSource &source, Value shared,
                    const TileLayout &layout, Value row, int64_t rows,
                    Value from, Value end) = 0;
  /// Starts the copies of a group, which `loads` does; all threads take part.
  virtual void group(Value number, function_ref<void()> loads) = 0;
  /// The group has arrived, and products may read it; the last `left` groups
  /// that were begun need not have. All threads are done with what they read
  /// before.
  virtual void wait(Value number, int64_t left) = 0;
  /// Makes zeros of numbers from `end` on of a tile that has arrived, where
  /// `load` left other numbers.
  virtual void clear(Value shared, const TileLayout &layout, Value row,
                     int64_t rows, Value from, Value end) {}

  /// The number of the group some turns later or earlier.
  Value later(Value number, int64_t turns) const;
  /// The stage of a group's tiles, below `stages`.
  Value stageOf(Value number) const;

protected:
  /// `ring`: a multiple of the stages.
  TileLoader(ImplicitLocOpBuilder &b, const Tiling &tiling, Value thread,
             int64_t ring)
      : b(b), a{b}, tiling(tiling), thread(thread), ring(ring) {}

  ImplicitLocOpBuilder &b;
  Arith a;
  const Tiling &tiling;
  Value thread;
  int64_t ring;
};

/// By cp.async.
class CopyLoader : public TileLoader {
public:
  CopyLoader(ImplicitLocOpBuilder &b, const Tiling &tiling, Value thread)
      : TileLoader(b, tiling, thread, tiling.stages) {}
  void load(const RowSource &source, Value shared, const TileLayout &layout,
            Value row, int64_t rows, Value from, Value end) override;
  void group(Value number, function_ref<void()> loads) override;
  /// Of any group, number or none: the copies that are not of one join the
  /// next.
  void wait(Value number, int64_t left) override;

private:
  /// The last group is open, so that the wait that follows it closes it.
  bool isOpen = false;
};

/// By boxes of tensor maps, which one thread asks for. A barrier for each stage
/// (`barriers`, memref<nxi64> in shared memory, from `first` on) counts the
/// bytes of a group; its phases end one after the other, so that a number says
/// stage and parity.
class BoxLoader : public TileLoader {
public:
  BoxLoader(ImplicitLocOpBuilder &b, const Tiling &tiling, Value thread,
            Value barriers, int64_t first)
      : TileLoader(b, tiling, thread, 2 * tiling.stages), barriers(barriers),
        first(first) {}
  /// Makes barriers, once for all groups of a kernel, before any is begun.
  static void start(ImplicitLocOpBuilder &b, Value thread, Value barriers);
  void load(const RowSource &source, Value shared, const TileLayout &layout,
            Value row, int64_t rows, Value from, Value end) override;
  void group(Value number, function_ref<void()> loads) override;
  void wait(Value number, int64_t left) override;
  void clear(Value shared, const TileLayout &layout, Value row, int64_t rows,
             Value from, Value end) override;

private:
  Value barriers;
  int64_t first;
  Value open; ///< place of the barrier of the group that is being begun
};

} // namespace mlir::megactx::nvgpu

#endif
