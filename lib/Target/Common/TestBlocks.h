//===- TestBlocks.h - tests that are the same for whole blocks --*- C++ -*-===//
//
// Owns what block-sparse pieces have beside other tests per element: one value
// for all pairs of a block of query positions and a block of key positions.
// Kernels ask once for such a pair of blocks, read no tile for which the test
// holds nowhere, and run no test where it holds everywhere.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_COMMON_TESTBLOCKS_H
#define MEGACTX_LIB_TARGET_COMMON_TESTBLOCKS_H

#include "KeyViews.h"

namespace mlir::megactx {

class TestBlocks {
public:
  /// Nothing where the piece has no such test, where its blocks are so small
  /// that to ask is as much work as the tests are, or where rows that follow
  /// each other are not at positions that do.
  static std::optional<TestBlocks> of(const AttentionShape &shape,
                                      const pattern::Piece &piece);

  /// Positions from `first` to `last`, both of them.
  struct Range {
    Value first, last;
  };
  /// Whether the test holds of some and of all pairs, i1.
  struct Held {
    Value any, all;
  };
  Held held(ImplicitLocOpBuilder &b, const KeyViews &views, Range queries,
            Range keys) const;

  /// Tiles of so many rows, which come one by one: numbers [begin, end), of
  /// which number i is at position i + offset, in blocks of so many positions.
  struct Walk {
    Value begin, end, offset;
    int64_t block, tile;
  };
  /// Calls `body` with the first number of tiles that hold all numbers of the
  /// walk's blocks for which `of`, asked with one of its positions, says that
  /// the test holds of any pair; `isAll`: it does of all pairs of the tile. A
  /// tile may reach behind its block, and behind the end.
  static void forTiles(ImplicitLocOpBuilder &b, const Walk &walk,
                       function_ref<Held(Value position)> of,
                       function_ref<void(Value from, Value isAll)> body);

  int64_t queries, keys; ///< positions of a block

private:
  TestBlocks(const pattern::Expr &test, int64_t queries, int64_t keys)
      : queries(queries), keys(keys), test(test) {}
  pattern::Expr test;
};

} // namespace mlir::megactx

#endif
