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
  /// Nothing where the piece has no such test, or where rows that follow each
  /// other are not at positions that do.
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

  int64_t queries, keys; ///< positions of a block

private:
  TestBlocks(const pattern::Expr &test, const pattern::TestBlock &block)
      : queries(block.queries), keys(block.keys), test(test) {}
  pattern::Expr test;
};

} // namespace mlir::megactx

#endif
