//===- KeyRuns.h - where a test holds along the keys ------------*- C++ -*-===//
//
// Owns the intervals of key positions on which a 0/1 expression of the key is
// constant, found without visiting each key.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_KEYRUNS_H
#define MEGACTX_LIB_PATTERN_KEYRUNS_H

#include "megactx/Pattern/Expr.h"

namespace mlir::megactx::pattern {

/// The value of an expression at one key, and the first key beyond at which it
/// may be another (INT64_MAX: never).
struct Run {
  int64_t value;
  int64_t end;
};

/// `expr` along the keys from `key` on, at the row p. The run is as long as
/// comparisons of chains (+, *, floordiv, mod of the key) show; it always has
/// one key at least.
Run runAt(const Expr &expr, int64_t p, int64_t key);

/// The same along the rows, of an expression without the key.
Run rowRunAt(const Expr &expr, int64_t p);

} // namespace mlir::megactx::pattern

#endif
