//===- TileLoader.h - rows of memory into tiles -----------------*- C++ -*-===//
//
// Owns how tiles get into shared memory, and how those who read them know.
// There are three ways: by cp.async, 16 bytes a thread at a time, from any view
// of rows; by the tensor memory accelerator, a box of a tensor map at a time,
// from rows that follow each other in memory; and the same by a warp that only
// loads (RingLoader.h).
//
// Copies come in groups, numbered from 0 on: one for each turn of a loop over
// tiles, begun stages - 1 turns ahead, earlier before the first turn, or when a
// warp that only loads comes to it. Numbers are carried modulo a multiple of
// the stages.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_TILELOADER_H
#define MEGACTX_LIB_TARGET_NVGPU_TILELOADER_H

#include "../Common/Emit.h"
#include "Tiling.h"

namespace mlir::megactx::nvgpu {

/// A row of a memref [batch, head, row, column].
struct Row {
  Value batch, head, number;

  /// Indices of an element.
  SmallVector<Value> at(Value column) const {
    return {batch, head, number, column};
  }
};

/// Rows of a memref [batch, head, row, column], by numbers of their own.
struct RowSource {
  Value memory;
  int64_t columns;
  /// The row of a number; any number may be asked for.
  function_ref<Row(Value)> rowOf;
  /// Rows in memory from a number to the one so many later, where that is the
  /// same for all and all are of one head.
  function_ref<std::optional<int64_t>(int64_t numbers)> step;
  /// The tensor map of the memory, where there is one, and the rows of its
  /// boxes: as many numbers from each multiple on follow each other in memory.
  Value map = {};
  int64_t boxRows = 0;
};

/// Orders what threads wrote to shared memory before what the accelerator and
/// wgmma do after, which go through another proxy.
void fenceProxy(ImplicitLocOpBuilder &b);

/// Waits for all threads that compute.
void syncComputing(ImplicitLocOpBuilder &b, const Tiling &tiling);

/// Numbers of groups, modulo `ring`, a multiple of the stages: an index or i32.
struct StageNumbers {
  ImplicitLocOpBuilder &b;
  int64_t stages, ring;

  /// The number of the group some turns later or earlier.
  Value later(Value number, int64_t turns) const;
  /// The stage of a group's tiles, an index below `stages`.
  Value stageOf(Value number) const;
  /// Of 2 `stages` numbers, how often a stage's barrier has ended a phase
  /// before the group's, modulo 2, as i32.
  Value parityOf(Value number) const;
};

/// Who copies.
class TileWriter {
public:
  virtual ~TileWriter() = default;

  /// Starts a copy of the numbers [from, from + rows) to the rows of a tile
  /// from `row` on; numbers from `end` on, and columns that the source has not,
  /// become zero, by the end of `clear` at the latest.
  virtual void load(const RowSource &source, Value shared,
                    const TileLayout &layout, Value row, int64_t rows,
                    Value from, Value end) = 0;
  /// Starts the copies of a group, which `loads` does; all threads that copy
  /// take part.
  virtual void group(Value number, function_ref<void()> loads) = 0;
};

/// Who reads what was copied: threads that compute.
class TileReader {
public:
  virtual ~TileReader() = default;

  /// The group has arrived, and products may read it; the last `left` groups
  /// that were begun need not have. Where nobody calls `release`, all threads
  /// are done with what they read before.
  virtual void wait(Value number, int64_t left) = 0;
  /// The warp no longer reads what the turn of the group reads.
  virtual void release(Value number) {}
  /// The same where the turn read nothing.
  virtual void releaseUnread(Value number) {}
  /// Warpgroups start the products of a turn one after the other, so that the
  /// products of one run while another has its softmax: waits for its turn, and
  /// leaves it to the next. Every warpgroup has as many turns.
  virtual void takeTurn() {}
  virtual void passTurn() {}
  /// Makes zeros of numbers from `end` on of a tile that has arrived, where
  /// `load` left other numbers. All threads that compute take part.
  virtual void clear(Value shared, const TileLayout &layout, Value row,
                     int64_t rows, Value from, Value end) {}
};

/// All threads of a block copy and compute.
class TileLoader : public TileWriter, public TileReader {
public:
  StageNumbers numbers() const { return {b, tiling.stages, ring}; }

protected:
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

/// The mbarriers of a block, memref<nxi64> in shared memory.
struct BlockBarriers {
  ImplicitLocOpBuilder &b;
  Value memory;

  /// Where the barrier `at` is.
  Value operator[](Value at) const;
  /// Makes the barriers, each of as many arrivals, before anybody uses them.
  void start(Value thread, ArrayRef<int64_t> arrivals) const;
  /// Waits until the phase of a parity, an i32, has ended.
  void wait(Value at, Value parity) const;
  void arrive(Value at) const;
};

/// By one thread of the warp that begins with the thread `first`.
void byOneThread(ImplicitLocOpBuilder &b, Value thread, int64_t first,
                 function_ref<void()> body);

/// Asks for boxes whose bytes the barrier `open` counts. One thread runs it.
void loadBoxes(const BlockBarriers &barriers, Value open,
               const RowSource &source, Value shared, const TileLayout &layout,
               Value row, int64_t rows, Value from);
/// TileReader::clear of boxes: rows that the tensor has after `end` came with
/// the others; weights of theirs are zero, but who knows what they hold.
void clearRows(ImplicitLocOpBuilder &b, const Tiling &tiling, Value thread,
               Value shared, const TileLayout &layout, Value row, int64_t rows,
               Value from, Value end);

/// By boxes of tensor maps, which one thread asks for. A barrier for each stage
/// (`barriers`, memref<nxi64> in shared memory, from `first` on) counts the
/// bytes of a group; its phases end one after the other, so that a number says
/// stage and parity.
class BoxLoader : public TileLoader {
public:
  BoxLoader(ImplicitLocOpBuilder &b, const Tiling &tiling, Value thread,
            Value barriers, int64_t first)
      : TileLoader(b, tiling, thread, 2 * tiling.stages), barriers{b, barriers},
        first(first) {}
  void load(const RowSource &source, Value shared, const TileLayout &layout,
            Value row, int64_t rows, Value from, Value end) override;
  void group(Value number, function_ref<void()> loads) override;
  void wait(Value number, int64_t left) override;
  void clear(Value shared, const TileLayout &layout, Value row, int64_t rows,
             Value from, Value end) override;

private:
  BlockBarriers barriers;
  int64_t first;
  Value open; ///< place of the barrier of the group that is being begun
};

} // namespace mlir::megactx::nvgpu

#endif
