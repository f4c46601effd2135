//===- Scores.h - the matrix of scores of a link of attention ---*- C++ -*-===//
//
// Owns the scores of all pairs of query and key as linalg, the piece as a
// condition evaluated per element: what the generic lowerings of attention and
// of its gradients begin with. Dims 0 to 3 are batch, query head, query row and
// key row.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_DIALECT_MEGACTX_IR_SCORES_H
#define MEGACTX_LIB_DIALECT_MEGACTX_IR_SCORES_H

#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

namespace mlir::megactx {

class LinkScores {
public:
  /// Of a link of one piece on tensors; `origin` as in online_attention.
  LinkScores(AttentionLinkInterface op, ValueRange origin, Emitter &b)
      : op(op), origin(origin), b(b) {}

  /// Keys or values [B, Hkv, Nk, D] with a head for each query head.
  Value headPerQuery(Value rows);
  /// <q, k> [B, Hq, Nq, Nk], f32.
  Value products();
  /// The scores of these products, minus infinity where the piece does not
  /// hold.
  Value masked(Value products);
  /// Of a product, the derivative of its score.
  Value slope(Emitter &in, Value product);

private:
  Value dim(Value of, int64_t i) { return b.dim(of, i); }
  Value scale(Emitter &in);
  Value capped(Emitter &in, Value product);
  Value score(Emitter &in, Value product, ValueRange at);
  Value holds(Emitter &in, ValueRange at);
  Value table(ArrayRef<int64_t> values);
  /// The index value of an optional offset.
  Value orZero(Value offset) { return offset ? offset : b.index(0); }

  AttentionLinkInterface op;
  ValueRange origin;
  Emitter &b;
  Value queryOffset, keyOffset, keyRows;
  SmallVector<Value> begin;
  SmallVector<SmallVector<Value>> biasSizes; ///< of each bias
  OpBuilder::InsertPoint outside;
};

} // namespace mlir::megactx

#endif
