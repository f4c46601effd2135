//===- BlockRows.h - which rows and keys a block has ------------*- C++ -*-===//
//
// Owns the way from a block's place in the grid to its rows: rows of one class
// of the view, of one head; or, grouped, of all heads that share a key head,
// row by row, so that their positions never decrease and each key is read once.
// Both are numbered alike, and who computes with rows need not know which.
//
// Grid: (class x block of rows, head or key head, part x batch). Where blocks
// take one unit of work after the other, those places are numbered.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_BLOCKROWS_H
#define MEGACTX_LIB_TARGET_NVGPU_BLOCKROWS_H

#include "../Common/KeyParts.h"
#include "../Common/KeyViews.h"
#include "TileLoader.h"
#include "Tiling.h"

namespace mlir::megactx::nvgpu {

/// What a kernel that may split keys is given beside its other arguments: how
/// many parts there are, and where their results go (KeyParts).
struct PartArguments {
  Value count, out, statistics;
  static SmallVector<Type> types(MLIRContext *context,
                                 const AttentionShape &shape);
};

/// Where in the work of a launch rows are.
struct BlockPlace {
  Value number; ///< of the block of rows, class by class, latest rows first
  Value head;   ///< or key head
  Value slot;   ///< part x batch

  /// That of the block in the grid.
  static BlockPlace ofGrid(ImplicitLocOpBuilder &b);
  /// That of a unit of work, of which there are `units`. Where late rows see
  /// more keys, the longest units of all heads come first; else the rows of a
  /// head follow each other, and find each other's keys in the cache.
  static BlockPlace ofUnit(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                           const Tiling &tiling,
                           const KernelArguments &arguments,
                           const PartArguments &parts, Value unit);
  static Value units(ImplicitLocOpBuilder &b, const Tiling &tiling,
                     const KernelArguments &arguments,
                     const PartArguments &parts);
};

class BlockRows {
public:
  /// Enters the class of `views` that the place is of.
  BlockRows(ImplicitLocOpBuilder &b, const Tiling &tiling, KeyViews &views,
            const KernelArguments &arguments, const PartArguments &parts,
            const BlockPlace &place);

  /// Blocks of the rows of a class, and of how many heads one has rows.
  static Value blocks(const Arith &a, const Tiling &tiling, Value queries,
                      int64_t period, Value group);

  /// The row of a number; any number may be asked for.
  Row at(Value number) const;
  Value positionOf(Value number) const;
  /// Rows from a number to the one so many later, where that is the same for
  /// all and all are of one head.
  std::optional<int64_t> step(int64_t numbers) const;
  /// A row's place in the results of parts.
  Row inParts(const Row &row) const { return {slot, row.head, row.number}; }

  Value batch, keyHead;
  Value begin;    ///< number of the block's first row
  Value count;    ///< how many rows the class has, those of other blocks too
  KeyParts parts; ///< null where keys are never split

private:
  Arith a;
  const Tiling &tiling;
  KeyViews &views;
  Value slot, group, head;
};

} // namespace mlir::megactx::nvgpu

#endif
