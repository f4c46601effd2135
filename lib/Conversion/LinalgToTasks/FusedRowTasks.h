//===- FusedRowTasks.h - tasks of several ops on rows -----------*- C++ -*-===//
//
// Owns the tasks of megactx.fused_rows: a task takes rows that make up the
// grain, one after the other, and does all of the ops for each while its
// elements are in the core's caches. What only these ops use of a row is in
// memory of the task's own, where its size is known and small.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOTASKS_FUSEDROWTASKS_H
#define MEGACTX_LIB_CONVERSION_LINALGTOTASKS_FUSEDROWTASKS_H

#include "TaskEmitter.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

namespace mlir::megactx {

/// Emits the tasks, and erases the op.
class FusedRowTasks {
public:
  /// A task is of `grain` elements or more, a vector of `lanes`.
  FusedRowTasks(FusedRowsOp fused, int64_t grain, int64_t lanes);
  void run();

private:
  class RowOp : public TaskEmitter {
  public:
    using TaskEmitter::add, TaskEmitter::atLeastOne, TaskEmitter::c;
    using TaskEmitter::b, TaskEmitter::extents, TaskEmitter::indices,
        TaskEmitter::mul;
    using TaskEmitter::ceilDiv, TaskEmitter::constantOf, TaskEmitter::min;
    using TaskEmitter::op, TaskEmitter::product, TaskEmitter::shareExtents;
    using TaskEmitter::TaskEmitter, TaskEmitter::findRow, TaskEmitter::emitRow;
    using TaskEmitter::unflatten;
  };

  void takeScratch();
  std::optional<MemRefType> rowType(Value scratch);

  FusedRowsOp fused;
  int64_t grain;
  unsigned rowLoops;
  SmallVector<std::unique_ptr<RowOp>> ops;
};

} // namespace mlir::megactx

#endif
