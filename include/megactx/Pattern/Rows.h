//===- Rows.h - the rows that a pattern is applied to -----------*- C++ -*-===//

#ifndef MEGACTX_PATTERN_ROWS_H
#define MEGACTX_PATTERN_ROWS_H

#include <cstdint>

namespace mlir::megactx::pattern {

/// Query rows and key rows, and the positions (tokens) at which they stand:
/// row i stands at i * step + offset.
struct Rows {
  int64_t queries = 0, keys = 0;
  int64_t queryStep = 1, queryOffset = 0, keyStep = 1, keyOffset = 0;

  int64_t query(int64_t i) const { return i * queryStep + queryOffset; }
  int64_t key(int64_t j) const { return j * keyStep + keyOffset; }
  /// One past the last key's position: the symbol nk.
  int64_t keyEnd() const { return key(keys - 1) + 1; }
};

} // namespace mlir::megactx::pattern

#endif
