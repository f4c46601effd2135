//===- Schedule.h - which schedule a kernel gets ----------------*- C++ -*-===//
//
// Owns the rule from architecture, element type, head dims and rows to a
// schedule, what a schedule must hold to for a kernel, and where its tiles are
// in shared memory.
//
// The rule:
//   product   fma for f32; for f16 and bf16 wgmma on sm_90a, where a class of
//             the view is not known to have no more than 32 rows, else mma_sync
//   columns   64 where both head dims are at most 128, else 32; with one warp
//             no more than 4096 / head dim, so that a multiprocessor holds many
//             blocks, each with keys on their way; half of it for f32, whose
//             elements are twice as large
//   grouped   where a class of the view is known to have no more than 16 rows,
//             of how many heads share a key head is known too, and no piece
//             depends on the head: blocks then read each key once for all heads
//             of the group, and the rows of a class are theirs in what follows
//   warps     4, and rows = 16 warps; 2 or 1 where a class of the view is known
//             to have no more than 32 or 16 rows, so that no warp is idle
//   stages    2
//   held      where the head dim is at most 128, or 64 with a test per element:
//             registers hold no more; never for wgmma, which reads shared
//             memory as fast
//   blocks    8 / warps, or as many as fit in shared memory
//   split     the machine's multiprocessors times blocks: where a launch has no
//             more than half as many, keys are split into parts, a block each,
//             of which there are then as many as run at once. 0 where the
//             launch is known to have more. No part has fewer than 16 keys for
//             each row of a block: its results, written and read in f32, are
//             then an eighth of its keys and values in 16 bits
// With wgmma, by times on the device (docs/performance.md): blocks of a
// multiprocessor hide what each of them waits for.
//   warps     4; 8 for head dims above 128
//   columns, blocks
//             64 and 4 for head dims up to 64; up to 128 80 and 2 where rows
//             are long (a piece whose rows see keys from the first on, in one
//             view), else 48 and 3; above 48 and 1. With a bias or a test per
//             element registers hold less: 64 and 2, with a test 48 and 2 for
//             head dims above 64, 32 and 1 above 128. Fewer blocks where they
//             do not fit
// Where a block does not fit in the architecture's shared memory, columns are
// halved down to 16, then warps down to 1 (wgmma: 4), until it does.
//
//   loads     cp_async. With tma, which a schedule may ask for with wgmma, keys
//             and values of pieces without strides and columns are boxes of
//             tensor maps, and so are queries of one class and one head; others
//             still come by cp.async
//   producer  not used, nor is persistent: neither is measured yet. What it
//   takes
//             is wgmma, and pieces without strides, columns and tests per
//             element: a thread of a warpgroup of its own asks for all boxes.
//             It keeps 40 registers a thread, the warps that compute have the
//             rest, 232 of two warpgroups
//
// Where rows are not known, a launch chooses between two kernels at run time:
// that for a class of one row is for 16 and fewer.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_SCHEDULE_H
#define MEGACTX_LIB_TARGET_NVGPU_SCHEDULE_H

#include "../Common/AttentionShape.h"
#include "../Common/Emit.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Target/NVGPU/Architecture.h"

namespace mlir::megactx::nvgpu {

/// Up to so many rows of a class are few: blocks of a warp read the keys no
/// more often for all heads of a group than larger blocks do for one each.
constexpr int64_t kFewRows = 16;

/// Whether a piece has a test per element.
bool hasTest(const AttentionShape &shape);
/// Whether the rows of a piece see keys from the first on: loops over tiles are
/// then as long as the sequence, and what is before and after them is little.
bool hasLongRows(const AttentionShape &shape);

/// Whether late rows see more keys than early ones do: of units of work, the
/// longest are then to come first.
bool hasGrowingRows(const AttentionShape &shape);

/// Whether the keys of a piece do not follow each other in memory.
bool hasGatheredKeys(const AttentionShape &shape);

/// What is known of a launch when its kernel is chosen.
struct LaunchSize {
  std::optional<int64_t> rows;  ///< of a class of the view, of one head
  std::optional<int64_t> group; ///< query heads that share a key head
  std::optional<int64_t> heads; ///< batches x query heads x classes
};

/// The rule's choice.
nvx::ScheduleAttr chooseSchedule(MLIRContext *context, const Machine &machine,
                                 const AttentionShape &shape,
                                 const LaunchSize &known);

/// An error of the operation where kernels of the shape cannot have it.
LogicalResult verifySchedule(Operation *op, const Machine &machine,
                             const AttentionShape &shape,
                             nvx::ScheduleAttr schedule);

/// Where the elements of a tile are in shared memory. Eight rows in turn never
/// meet in a bank: rows are padded by 16 bytes, or, swizzled as
/// nvx.wgmma_descriptor wants it, in panels of 64 columns.
struct TileLayout {
  int64_t rows, columns, elementBytes;
  bool swizzled;

  static constexpr int64_t panel = 64;
  /// Of the memref.
  SmallVector<int64_t> shape() const;
  int64_t bytes() const;
  /// Bytes from column 0 to another one, a multiple of 8, of the swizzled
  /// tile's rows 0, 8, 16, ...
  int64_t panelOffset(int64_t column) const {
    return (column / panel * rows * panel + column % panel) * elementBytes;
  }
  /// Indices of an element.
  SmallVector<Value> place(const Arith &a, Value row, Value column) const;
};

/// Tile sizes and places in shared memory, in elements and bytes.
struct Tiling {
  Tiling(const AttentionShape &shape, nvx::ScheduleAttr schedule);
  int64_t elementBytes, paddedHead, paddedValue, rows, keys, threads, stages,
      split;
  nvx::Product product;
  nvx::Loads loads;
  bool queriesInRegisters, grouped, producer, persistent;
  /// Queries; keys and values of all stages, one after the other.
  TileLayout queryTile, keyTile, valueTile;
  /// Barriers that count bytes: a stage each for each piece, and the last one
  /// for queries; 0: nothing is a box. With a producer, of stages: full, empty;
  /// and of the queries of each warpgroup: full, empty.
  int64_t barriers;
  /// Whether queries are a box.
  bool loadsQueryBox;
  /// The fewest keys of a part.
  int64_t partKeys() const { return 16 * rows; }
  /// Turns from the product with a tile's keys to that with its values.
  int64_t valueLag() const { return product == nvx::Product::wgmma ? 1 : 0; }
  /// Elements of a copy of 16 bytes.
  int64_t chunk() const { return 16 / elementBytes; }
  /// Whether the keys of a piece are boxes of tensor maps.
  bool loadsBoxes(const pattern::Piece &piece) const;
  int64_t bytes() const {
    return queryTile.bytes() + keyTile.bytes() + valueTile.bytes() +
           kBarrierBytes * barriers;
  }
  static constexpr int64_t kBarrierBytes = 8;

  static constexpr int64_t kWarpgroupRows = 64, kWarpgroupThreads = 128;
  int64_t warpgroups() const { return threads / kWarpgroupThreads; }
  /// `threads` compute; behind them are the producer's.
  int64_t blockThreads() const {
    return threads + (producer ? kWarpgroupThreads : 0);
  }
  /// Rows of a box of queries.
  int64_t queryBoxRows() const { return producer ? kWarpgroupRows : rows; }
  /// Where barriers are, with a producer.
  int64_t emptyStages() const { return stages; }
  int64_t fullQueries() const { return 2 * stages; }
  int64_t emptyQueries() const { return 2 * stages + warpgroups(); }
};

/// Registers of a thread once roles are told apart, of those that a block of a
/// multiprocessor has: multiples of 8.
struct RegisterShares {
  RegisterShares(const Tiling &tiling, int64_t blocks);
  int64_t before; ///< of all threads
  int64_t loading, computing;
};

} // namespace mlir::megactx::nvgpu

#endif
