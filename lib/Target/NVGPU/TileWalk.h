//===- TileWalk.h - the tiles of a piece, one after the other ---*- C++ -*-===//
//
// Owns which tiles of keys a loop comes to: all that rows read or, where a test
// says the same of whole blocks, those of them for which it holds somewhere.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_TILEWALK_H
#define MEGACTX_LIB_TARGET_NVGPU_TILEWALK_H

#include "../Common/TestBlocks.h"
#include "PieceTiles.h"

namespace mlir::megactx::nvgpu {

/// What a turn of the loop is told: of tiles of keys or, of keys' gradients, of
/// queries.
struct TurnTiles {
  /// The first column of the tile of the turn that comes so many turns later,
  /// up to stages - 1: not below the end of the keys where there is no such
  /// turn.
  std::function<Value(int64_t turns)> from;
  /// Whether the piece's test holds for all pairs of the turn's tile, i1, the
  /// same in all of the block; null where nobody knows.
  Value isAllowed;
};

/// Who asks for tiles, and where warps tell each other what they found.
struct Askers {
  Value thread;  ///< of the block
  Value ballots; ///< in shared memory, null where nothing is asked
};

/// What a test says of the block's rows and the columns [from, behind).
using TileTest = std::function<TestBlocks::Held(Value from, Value behind)>;

class TileWalk {
public:
  /// Of the columns [begin, end), which are of `tiles`, whose grid begins with
  /// them.
  TileWalk(ImplicitLocOpBuilder &b, const Tiling &tiling,
           const PieceTiles &tiles, Value begin, Value end)
      : b(b), a{b}, tiling(tiling), tiles(tiles), begin(begin), end(end) {}
  virtual ~TileWalk() = default;

  /// Of all tiles that a block's rows read, without those that a test leaves
  /// out; null: there is none. All threads of the block have to come here, to
  /// `loop`, and to every turn of it.
  static std::unique_ptr<TileWalk> create(ImplicitLocOpBuilder &b,
                                          const Tiling &tiling, Askers askers,
                                          const PieceTiles &tiles,
                                          const TileTest &test);
  /// That of a piece of queries.
  static TileTest testOf(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                         const Tiling &tiling, const KeyViews &views,
                         const BlockRows &rows,
                         const KernelArguments &arguments, unsigned piece);

  /// Whether there is a tile.
  virtual Value any() { return a.lt(begin, end); }
  virtual TurnTiles first() { return from(begin); }
  /// A turn for each tile, carrying values; for each but the first where that
  /// has had its turn.
  using Body = function_ref<SmallVector<Value>(const TurnTiles &, ValueRange)>;
  virtual SmallVector<Value> loop(bool hasBegun, ValueRange init, Body body);
  /// After the loop, the first key of the last of the block's tiles.
  virtual Value last() { return tiles.last(a, tiling.keys); }

protected:
  TurnTiles from(Value first);

  ImplicitLocOpBuilder &b;
  Arith a;
  const Tiling &tiling;
  PieceTiles tiles;
  Value begin, end;
};

} // namespace mlir::megactx::nvgpu

#endif
