//===- RowRuns.h - the keys of a row, as runs -------------------*- C++ -*-===//
//
// Owns the walk over the key rows that a query row attends, run by run. It
// evaluates the relation itself, never its pieces.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_ROWRUNS_H
#define MEGACTX_LIB_PATTERN_ROWRUNS_H

#include "KeyRuns.h"
#include "megactx/Pattern/Formula.h"
#include "megactx/Pattern/Rows.h"

namespace mlir::megactx::pattern {

/// A relation at given rows, for one head. Per-row operands (segment ids) and
/// batches count as all alike.
class RowRuns {
public:
  RowRuns(const Formula &formula, const Rows &rows, int64_t head);

  /// Calls `visit(begin, end)` for each maximal run of key rows [begin, end)
  /// that query row i attends, in ascending order.
  void forEach(int64_t i, llvm::function_ref<void(int64_t, int64_t)> visit);

  /// Whether the rows see the same keys by the same condition.
  bool operator==(const RowRuns &other) const {
    return condition == other.condition;
  }

private:
  Expr condition;
  Rows rows;
  Walk walk;
};

} // namespace mlir::megactx::pattern

#endif
