//===- Statistics.h - how much work a pattern is ----------------*- C++ -*-===//
//
// Owns counts of pairs and the numbers that follow from them. All are closed
// form in the number of rows: time and memory depend on the pieces, their
// periods and divisors, not on how long the sequence is. Pieces with a test
// take time for each interval of keys on which the test holds.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_STATISTICS_H
#define MEGACTX_PATTERN_STATISTICS_H

#include "megactx/Pattern/Piece.h"
#include "megactx/Pattern/Rows.h"

namespace mlir::megactx::pattern {

/// The pairs of query and key rows that the pieces hold for one head; nothing
/// where counting takes more than 2^22 steps (tests over many keys). Per-row
/// operands (segment ids) count as all alike. `steps` gets the steps taken.
std::optional<int64_t> countPairs(llvm::ArrayRef<Piece> pieces,
                                  const Rows &rows, int64_t head,
                                  uint64_t *steps = nullptr);

/// The same for the heads 0 .. heads - 1; heads with the same pieces are
/// counted once.
std::optional<std::vector<int64_t>>
countPairsPerHead(llvm::ArrayRef<Piece> pieces, const Rows &rows,
                  int64_t heads);

} // namespace mlir::megactx::pattern

#endif
