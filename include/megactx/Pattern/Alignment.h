//===- Alignment.h - strides, blocks and gist boundaries --------*- C++ -*-===//
//
// Owns the comparison of a pattern's periods with the tokens that one gist
// stands for. A period that neither divides nor is a multiple of them meets
// gists at ever other places: a strided view then sees each gist in parts, and
// a block ends inside one.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_ALIGNMENT_H
#define MEGACTX_PATTERN_ALIGNMENT_H

#include "megactx/Pattern/Pattern.h"

namespace mlir::megactx::pattern {

struct Misalignment {
  std::string pattern; ///< the name with its arguments
  int64_t period;      ///< its stride or block, tokens
  int64_t gist;        ///< tokens of the gists that it cuts
  int64_t divisor;     ///< greatest common one of both
  /// Multiples of `boundary`, the larger of both, are where one begins inside
  /// the other, but for the multiples of `repeats`, where both begin.
  int64_t boundary, repeats;
  /// The nearest period that is aligned to gists of every level; of two equally
  /// near ones the larger, which sees fewer keys.
  int64_t nearest;
};

/// The periods of strides, columns and blocks, in tokens, that are not aligned
/// to the gists of the pattern's own pyramids, or of every `gist` tokens where
/// it has none. Each with the smallest gists that it cuts.
std::vector<Misalignment> misalignments(const Pattern &pattern,
                                        int64_t gist = 1);

} // namespace mlir::megactx::pattern

#endif
