//===- Statistics.h - how much work a pattern is ----------------*- C++ -*-===//

#ifndef MEGACTX_PATTERN_STATISTICS_H
#define MEGACTX_PATTERN_STATISTICS_H

#include "megactx/Pattern/Piece.h"

namespace mlir::megactx::pattern {

/// The rows that a pattern is applied to; steps and offsets in tokens.
struct Rows {
  int64_t queries = 0, keys = 0;
  int64_t queryStep = 1, queryOffset = 0, keyStep = 1, keyOffset = 0;
};

/// The pairs of query and key rows that the pieces hold for one head: closed
/// form per row, except for pieces with a test and for key steps above 1 with
/// residues, which are counted element by element.
int64_t countPairs(llvm::ArrayRef<Piece> pieces, const Rows &rows,
                   int64_t head);

} // namespace mlir::megactx::pattern

#endif
