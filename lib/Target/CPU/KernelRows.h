//===- KernelRows.h - rows in and out of a task's lanes ---------*- C++ -*-===//
//
// Owns the way of query rows into the lanes and of finished rows out of them.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_KERNELROWS_H
#define MEGACTX_LIB_TARGET_CPU_KERNELROWS_H

#include "BlockBuffers.h"
#include "KernelParts.h"

namespace mlir::megactx::cpu {

/// The rows of one batch entry that a task's lanes stand for; `buffers.rowOf`
/// and `headOf` say which.
class TaskRows {
public:
  TaskRows(ImplicitLocOpBuilder &b, const KernelShape &shape,
           const BlockBuffers &buffers, Value batch)
      : b(b), a{b}, shape(shape), buffers(buffers), batch(batch) {}

  /// `buffers.queries` from query [B, Hq, Nq, D], times the form's factor.
  void load(KernelParts &parts, Value query);
  /// The first `valid` rows: `buffers.acc` over the sums into out [B, Hq, Nq,
  /// Dv] and the log-sum-exp into lse [B, Hq, Nq]; merged with what they hold
  /// where the kernel accumulates.
  void store(KernelParts &parts, Value out, Value lse, Value valid);
  /// The same rows as results of a part of their keys (KeyParts).
  void storePart(KernelParts &parts, Value out, Value statistics, Value valid);

private:
  void loadBody(Value query);
  void call(KernelParts &parts, StringRef key, Value out, Value perRow,
            Value valid, function_ref<void(TaskRows &, ValueRange)> body);
  void storeBody(Value out, Value valid, function_ref<void(Value)> storeRow);
  void weights();
  void mergeWeights(Value lse);
  SmallVector<Value> rowAt(Value lane);

  ImplicitLocOpBuilder &b;
  Arith a;
  const KernelShape &shape;
  const BlockBuffers &buffers;
  Value batch;
};

} // namespace mlir::megactx::cpu

#endif
