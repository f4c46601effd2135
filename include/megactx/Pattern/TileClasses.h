//===- TileClasses.h - full, partial and empty tiles ------------*- C++ -*-===//
//
// Owns how much of the tiles of a pattern's pieces its relation holds: what a
// kernel that works on tiles does, next to the pairs that are asked of it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_TILECLASSES_H
#define MEGACTX_PATTERN_TILECLASSES_H

#include "megactx/Pattern/Piece.h"
#include "megactx/Pattern/Rows.h"

namespace mlir::megactx::pattern {

/// Rows of the views of queries and of keys in one tile, at least 1.
struct TileShape {
  static constexpr int64_t kMax = 1 << 16;

  int64_t queries = 16, keys = 16;

  /// `16x16`: queries x keys, each from 1 to kMax.
  static std::optional<TileShape> parse(llvm::StringRef text);
};

/// Tiles by how much of them a piece holds.
struct TileClasses {
  int64_t full = 0;    ///< every pair
  int64_t partial = 0; ///< some pairs
  int64_t empty = 0;   ///< no pair

  bool operator==(const TileClasses &o) const {
    return full == o.full && partial == o.partial && empty == o.empty;
  }
};

/// For each piece the tiles of one head; none where it does not have the piece.
///
/// The views of a piece, one for each class of residues, are cut into tiles
/// apart: the rows of the class between the piece's row bounds, from the first
/// on, and all keys of the class, from key 0 on. The last tiles of a view may
/// hold fewer rows; they are full where all pairs there are hold.
///
/// Tiles are classified by their rows' bounds, in closed form where bounds
/// repeat (+, *, floordiv, min, max), otherwise in a step for each row of
/// tiles. A piece with a test has no full tile, and partial ones are those that
/// its bounds reach. Nothing where that takes more than 2^22 steps. `steps`
/// gets the steps taken.
std::optional<std::vector<TileClasses>>
countTiles(llvm::ArrayRef<Piece> pieces, const Rows &rows, int64_t head,
           TileShape shape, uint64_t *steps = nullptr);

/// A piece's tiles in each of the heads that have it, as many as there are.
struct TilesOfHeads {
  int64_t heads = 0;
  TileClasses perHead;
};

/// The same for each piece and the heads 0 .. heads - 1. Bounds of pieces do
/// not know their head, so this takes as long as one head.
std::optional<std::vector<TilesOfHeads>>
countTilesOfHeads(llvm::ArrayRef<Piece> pieces, const Rows &rows, int64_t heads,
                  TileShape shape);

/// What tiles and pairs cost in all heads.
struct Work {
  double full = 0, partial = 0, empty = 0; ///< tiles
  /// Forward FLOPs when each tile that is not empty is computed whole:
  /// 2 (dim + value dim) for each of its queries * keys pairs.
  double tileFlops = 0;
};
Work workOf(llvm::ArrayRef<TilesOfHeads> tiles, TileShape shape,
            int64_t dimAndValueDim);

} // namespace mlir::megactx::pattern

#endif
