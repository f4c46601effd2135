//===- Schedule.h - which schedule a kernel gets ----------------*- C++ -*-===//
//
// Owns the rule from architecture, element type, head dims and rows to a
// schedule, what a schedule must hold to for a kernel, and where its tiles are
// in shared memory.
//
// The rule is told where users read it (Target/NVGPU/Passes.td), and why is in
// docs/performance.md. What it comes from, but for times on a device:
//
//   columns   with one warp, so that a multiprocessor holds many blocks, each
//             with keys on their way; half for f32, whose elements are twice as
//             large
//   grouped   blocks then read each key once for all heads of the group
//   warps     none is idle
//   held      registers hold no more; wgmma reads shared memory as fast, but
//             of few keys, as often as those
//   split     as many blocks as run at once; results of parts, written and read
//             in f32, are no more than an eighth of their keys and values in 16
//             bits
//   producer  keeps 40 registers a thread, or 56; the warps that compute have
//             the rest, 232 or 224 of two warpgroups
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
/// Whether late rows of a piece in one view see keys from the first on: loops
/// over tiles are then as long as the sequence, and what is before and after
/// them is little.
bool hasLongRows(const AttentionShape &shape);

/// Whether rows see so few keys that small tiles, of which masks leave more,
/// are better than large ones: they are not long, and are of a strided view, or
/// late ones see no more than 96 Ki elements on average, or a run says how
/// many.
bool hasShortRows(const AttentionShape &shape);

/// Whether late rows see more keys than early ones do: of units of work, the
/// longest are then to come first.
bool hasGrowingRows(const AttentionShape &shape);

/// Whether the keys of a piece do not follow each other in memory.
bool hasGatheredKeys(const AttentionShape &shape);

/// Whether of those, in each piece that has such, a multiple of 8 follow each
/// other, from the first key on.
bool hasKeyRuns(const AttentionShape &shape);

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

  /// A panel's columns; rows after which the swizzle is as at the first.
  static constexpr int64_t panel = 64, kSwizzledRows = 8;
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
  /// Rows of a box of keys, which divide the tile's; 0: no keys are boxes.
  int64_t keyBoxRows;
  /// Whether some boxes are of a piece whose keys do not all follow each other.
  bool gathersBoxes;
  /// What warps tell each other of tests of blocks: words, two for each warp
  /// that asks.
  int64_t ballots;
  /// The fewest keys of a part.
  int64_t partKeys() const;
  /// Turns from the product with a tile's keys to that with its values.
  int64_t valueLag() const { return product == nvx::Product::wgmma ? 1 : 0; }
  /// Elements of a copy of 16 bytes.
  int64_t chunk() const { return 16 / elementBytes; }
  /// Whether the keys of a piece are boxes of tensor maps: they follow each
  /// other, all or those of each `keyBoxRows` numbers of the key view.
  bool loadsBoxes(const pattern::Piece &piece) const;
  int64_t bytes() const {
    return queryTile.bytes() + keyTile.bytes() + valueTile.bytes() +
           kBarrierBytes * barriers + kBallotBytes * ballots;
  }
  static constexpr int64_t kBarrierBytes = 8, kBallotBytes = 4;

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
