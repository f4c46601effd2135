//===- Tiling.h - where a block's tiles are in shared memory -----*- C++
//-*-===//
//
// Owns what follows from a schedule for one shape: sizes and places of tiles,
// barriers, which keys are boxes of tensor maps, and shares of registers.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_TILING_H
#define MEGACTX_LIB_TARGET_NVGPU_TILING_H

#include "../Common/AttentionShape.h"
#include "../Common/Emit.h"
#include "megactx/Dialect/NVX/IR/NVX.h"

namespace mlir::megactx::nvgpu {

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
  /// Queries; keys and values of all stages, one after the other. Of keys'
  /// gradients, keys; queries and dout.
  TileLayout queryTile, keyTile, valueTile;
  /// Of gradients, what else there is of the block's rows: dout, or values.
  TileLayout otherTile;
  /// Of keys' gradients: words on each query of each stage.
  int64_t queryWords;
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
  /// The fewest keys of a part, of blocks of so many rows.
  static int64_t partKeys(int64_t rows) { return 16 * rows; }
  /// Turns from the product with a tile's keys to that with its values.
  int64_t valueLag() const { return product == nvx::Product::wgmma ? 1 : 0; }
  /// Elements of a copy of 16 bytes.
  int64_t chunk() const { return 16 / elementBytes; }
  /// Whether the keys of a piece are boxes of tensor maps: they follow each
  /// other, all or those of each `keyBoxRows` numbers of the key view.
  bool loadsBoxes(const pattern::Piece &piece) const;
  int64_t bytes() const {
    return queryTile.bytes() + otherTile.bytes() + keyTile.bytes() +
           valueTile.bytes() + kBarrierBytes * barriers +
           kWordBytes * (ballots + queryWords);
  }
  static constexpr int64_t kBarrierBytes = 8, kWordBytes = 4;
  /// Of a query: log-sum-exp, delta, and the ends of its keys.
  static constexpr int64_t kWordsOfQuery = 4;

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

/// Whether boxes hold the keys of each piece: they follow each other, or, from
/// the first key on, a multiple of 8 of them do.
bool hasKeyRuns(const AttentionShape &shape);

/// Registers of a thread once roles are told apart, of those that a block of a
/// multiprocessor has: multiples of 8.
struct RegisterShares {
  RegisterShares(const Tiling &tiling, int64_t blocks);
  int64_t before; ///< of all threads
  int64_t loading, computing;
};

} // namespace mlir::megactx::nvgpu

#endif
