//===- TileProducts.h - products by matrix tiles ----------------*- C++ -*-===//
//
// Owns the products of AMX's tiles, 16 rows of 16 words: of f32, or of bf16
// whose pairs of neighbours in a sum lie in a word.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_TILEPRODUCTS_H
#define MEGACTX_LIB_TARGET_CPU_TILEPRODUCTS_H

#include "Kernel.h"
#include "LaneProducts.h"

namespace mlir::megactx::cpu {

/// Rows of a tile, which are as many words as f32 elements, or twice as many
/// bf16 elements.
constexpr int64_t kTileRows = 16, kWords = 16, kNarrow = 2 * kWords;

/// Whether the target has tiles for kernels of the shape.
bool fitTiles(const KernelShape &shape);

/// Rows of bf16 in memory, from an element of a matrix on or, with a stride in
/// elements, of flat data.
struct TileRows {
  Value data;
  SmallVector<Value> at;
  Value stride;
};

/// The sums of `rows`, a multiple of a tile's, by the columns of one or two
/// tiles, f32, in `to` from (row, column) on.
struct TileSums {
  Value to;
  Value row;
  int64_t rows;
  Value column;
  int64_t tiles;
};

class TileProducts {
public:
  explicit TileProducts(ImplicitLocOpBuilder &b) : b(b), a{b} {}

  /// sums = left [rows][depth] times right [depth / 2][2 columns]; or, with
  /// `adds`, plus that. `depth` is a multiple of kNarrow.
  void emit(const TileRows &left, const TileRows &right, const TileSums &sums,
            int64_t depth, bool adds);

  /// to [rows][columns] = rows one after another, columns past theirs 0.
  void pack(const TableRows &rows, Value to);
  /// to [columns][rows] = rows, a multiple of kNarrow, turned.
  void turn(const TableRows &rows, Value to);
  /// to [rows / 2][2 columns], bf16 = rows [rows][columns] of f32, pairs of
  /// them in words, rows past theirs 0.
  void pairRows(Value rows, Value to);

private:
  void turnSquare(const TableRows &rows, Value n, Value d, Value to);
  void block(const TileRows &left, const TileRows &right, const TileSums &sums,
             int64_t depth, bool adds, ArrayRef<Value> held);
  SmallVector<Value> columns(const TileRows &right, int64_t tiles,
                             int64_t begin, int64_t end);
  Value load(const TileRows &from, Value row, int64_t column);

  ImplicitLocOpBuilder &b;
  Arith a;
};

/// Two vectors of f32, lane by lane, as words of two bf16, rounded to nearest.
Value emitPairs(ImplicitLocOpBuilder &b, Value low, Value high);

} // namespace mlir::megactx::cpu

#endif
