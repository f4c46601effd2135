//===- RingLoader.h - tiles from a warp that only loads ---------*- C++ -*-===//
//
// Owns what passes between a warp that loads and warps that compute. Tiles go
// through a ring of stages, each with two barriers: one that is full once all
// bytes of a group have arrived, and one that is empty once every warp has
// released it. A number of a group, modulo twice the stages, says stage and
// parity of both; numbers go on from one piece to the next and from one unit of
// work to the next. Queries have a tile for each warpgroup, and a turn's
// parity.
//
// The form is that of CUTLASS's PipelineTmaAsync; warps release a stage each by
// themselves, since wgmma's waits say nothing of other warps.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_RINGLOADER_H
#define MEGACTX_LIB_TARGET_NVGPU_RINGLOADER_H

#include "TileLoader.h"

namespace mlir::megactx::nvgpu {

/// Makes the ring's barriers. All threads of the block take part.
void startRing(const BlockBarriers &barriers, const Tiling &tiling,
               Value thread);

/// Of the one thread that loads.
class RingWriter : public TileWriter {
public:
  RingWriter(const BlockBarriers &barriers, const Tiling &tiling)
      : barriers(barriers), tiling(tiling) {}
  void load(const RowSource &source, Value shared, const TileLayout &layout,
            Value row, int64_t rows, Value from, Value end) override;
  /// Waits until the stage is empty.
  void group(Value number, function_ref<void()> loads) override;
  /// Starts the copy of a unit's queries, those of each warpgroup once it has
  /// released those of the unit before. `turn`: of the unit, modulo 2, an i32.
  void loadQueries(const RowSource &source, Value shared, Value turn,
                   Value begin);

private:
  BlockBarriers barriers;
  const Tiling &tiling;
  Value open; ///< place of the barrier of what is being begun
};

/// Of the warps that compute.
class RingReader : public TileReader {
public:
  RingReader(const BlockBarriers &barriers, const Tiling &tiling, Value thread)
      : barriers(barriers), tiling(tiling), thread(thread) {}
  void wait(Value number, int64_t left) override;
  void release(Value number) override;
  void releaseUnread(Value number) override;
  void clear(Value shared, const TileLayout &layout, Value row, int64_t rows,
             Value from, Value end) override;
  void takeTurn() override;
  void passTurn() override;
  /// The first warpgroup's turn is the first.
  void startTurns();
  void waitForQueries(Value turn);
  void releaseQueries();

private:
  void meet();
  void arriveOfWarp(Value at);
  Value warpgroup();
  Value turnOf(Value warpgroup);

  BlockBarriers barriers;
  const Tiling &tiling;
  Value thread;
};

} // namespace mlir::megactx::nvgpu

#endif
