//===- KernelSplit.h - tasks that share a row's keys ------------*- C++ -*-===//
//
// Owns the splitting of keys: where query rows are few, as in decoding, several
// tasks take parts of the same rows' keys, and their results are merged.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_KERNELSPLIT_H
#define MEGACTX_LIB_TARGET_CPU_KERNELSPLIT_H

#include "../Common/KeyParts.h"
#include "KernelRows.h"

namespace mlir::megactx::cpu {

/// The splitting of one kernel's tasks, of which there are `tasks` unsplit.
class KeySplit {
public:
  /// At most this many tasks come of splitting, enough for the cores of a
  /// machine; no part is shorter than this many keys.
  static constexpr int64_t kTasks = 64, kLeastKeys = 512;

  KeySplit(ImplicitLocOpBuilder &b, const KernelShape &shape, Value query,
           Value keys, Value tasks);

  Value tasks() const { return a.mul(unsplit, parts.count); }
  /// Takes up one of `tasks()`; returns which of the unsplit tasks it is.
  Value enter(Value number);
  /// What of the keys [begin, end) of a piece is this task's, in blocks of so
  /// many keys.
  std::pair<Value, Value> share(Value begin, Value end, int64_t block) const {
    return parts.share(a, begin, end, block);
  }
  /// As TaskRows::store, into `out` and `lse` or to be merged there.
  void store(KernelParts &code, const BlockBuffers &buffers, Value batch,
             Value out, Value lse, Value valid);
  /// Merges the parts of all rows, after all tasks.
  void merge(Value out, Value lse);

private:
  /// Of a row: the largest score of all its parts, a logarithm to base 2, the
  /// sum of weights relative to it, and the share of what was there before,
  /// null where nothing was.
  struct Shares {
    Value top, sum, kept;
  };
  Value isSplit() const { return a.lt(a.c(1), parts.count); }
  SmallVector<Value> rowOf(Value i, ArrayRef<Value> row) const;
  Value statistic(Value i, ArrayRef<Value> row, int64_t which) const;
  Value weightOf(Value i, ArrayRef<Value> row, Value top) const;
  Shares mergeStatistics(Value lse, ArrayRef<Value> row);
  void mergeRow(Value out, Value lse, ArrayRef<Value> row);
  void eachColumn(function_ref<void(Value, Type)> body);

  ImplicitLocOpBuilder &b;
  Arith a;
  const KernelShape &shape;
  KernelShape partial; ///< of a part's results: f32, nothing there before
  Value unsplit;
  KeyParts parts;
  Value batches, heads, queries;
  Value partOut, statistics; ///< as KeyParts has them
};

} // namespace mlir::megactx::cpu

#endif
