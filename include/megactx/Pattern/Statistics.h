//===- Statistics.h - how much work a pattern is ----------------*- C++ -*-===//

#ifndef MEGACTX_PATTERN_STATISTICS_H
#define MEGACTX_PATTERN_STATISTICS_H

#include "megactx/Pattern/Piece.h"
#include "megactx/Pattern/Rows.h"

namespace mlir::megactx::pattern {

/// The pairs of query and key rows that the pieces hold for one head: closed
/// form per row, except for pieces with a test and for key steps above 1 with
/// residues, which are counted element by element.
int64_t countPairs(llvm::ArrayRef<Piece> pieces, const Rows &rows,
                   int64_t head);

} // namespace mlir::megactx::pattern

#endif
