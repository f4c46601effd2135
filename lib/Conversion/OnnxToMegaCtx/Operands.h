//===- Operands.h - queries, keys and values of products --------*- C++ -*-===//
//
// Owns which tensors [B, H, N, D] the operands of a product of matrices were
// made of, by following one symbolic element through the nodes that only move
// it: heads folded into the batch, transposed keys, and key heads repeated for
// groups of query heads.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_OPERANDS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_OPERANDS_H

#include "ElementValues.h"

namespace mlir::megactx::raise {

/// A tensor [B, H / group, N, D] of which head h of the operand is head
/// h / group.
struct Operand {
  Value tensor;
  int64_t group = 1;
};

class Operands {
public:
  Operands(MLIRContext *context) : positions(context), values(positions) {}

  /// Sources of an operand [B, H, N, D] or [B * H, N, D], the nearest first.
  SmallVector<Operand> sourcesOf(Value operand);

  /// Whether the size is always 1.
  bool isOne(Value value, int64_t dim) {
    return values.shape(value)[dim] == positions.constant(1);
  }

  /// Whether two tensors [B, H, N, M] of as many elements always have the same
  /// sizes, or one of them those of the other with heads folded into the batch.
  bool haveOneShape(Value a, Value b);
  bool haveOneSize(Value a, Value b, int64_t dim) {
    return values.shape(a)[dim] == values.shape(b)[dim];
  }
  bool isLastSize(Value a, Value b) {
    return values.shape(a).back() == values.shape(b).back();
  }

  /// The number that a scalar always is.
  std::optional<double> scalar(Value value);

private:
  std::optional<Operand> sourceAt(Value tensor, ArrayRef<AffineExpr> place,
                                  bool isFolded);

  Positions positions;
  ElementValues values;
};

/// The deepest sources of key and value with one grouping; nothing where the
/// operands have none.
std::optional<std::pair<Operand, Operand>>
sharedSources(ArrayRef<Operand> keys, ArrayRef<Operand> values);

/// `self` where queries and keys are projected from one activation, or keys
/// from one of a layer before of which the queries' rows are computed, or where
/// nothing shows from which, else `cross`. Keys that are learned, not computed,
/// stand where their values do. Keys of which the last are of another sequence
/// are `cross`. Learned queries that look at a sequence are `cross`, and so are
/// computed ones that look at a learned memory.
StringRef kindOf(Value query, Value key, Value value);

} // namespace mlir::megactx::raise

#endif
