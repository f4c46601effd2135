//===- KeyParts.h - keys of rows in parts -----------------------*- C++ -*-===//
//
// Owns how keys are split where there are fewer tasks than a machine can run
// at once, as in decoding: into how many parts, which keys a part has, and
// where its results are until they are merged by their softmax's statistics.
// What a task is, and how results are merged, is each target's own.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_COMMON_KEYPARTS_H
#define MEGACTX_LIB_TARGET_COMMON_KEYPARTS_H

#include "Emit.h"

namespace mlir::megactx {

struct KeyParts {
  Value count;  ///< at least 1
  Value number; ///< the part at hand, below `count`

  /// As many parts as keep `tasks` times parts at no more than `most`, while
  /// each has `least` of the `keys` or more; at least one.
  static Value countOf(const Arith &a, Value tasks, int64_t most, Value keys,
                       int64_t least);

  /// What of the keys [begin, end) is the part's: whole blocks of so many keys,
  /// but for the last. Parts past the end are empty.
  std::pair<Value, Value> share(const Arith &a, Value begin, Value end,
                                int64_t block) const;

  /// The types of results in parts, both f32: out [parts * B, Hq, Nq, Dv],
  /// normalised as if there were no other part, and a row's statistics
  /// [parts * B, Hq, Nq, 2]: the largest score, in the target's own units, and
  /// the sum of all weights relative to it, 0 without a key. Of scores beyond
  /// 1e8, as masks make them, one logarithm of both would have nothing of the
  /// sum. A row of batch b and part i is that of batch i * B + b.
  static MemRefType outType(MLIRContext *context, int64_t valueDim);
  static MemRefType statisticsType(MLIRContext *context);
  static Value place(const Arith &a, Value part, Value batches, Value batch) {
    return a.add(a.mul(part, batches), batch);
  }
};

} // namespace mlir::megactx

#endif
