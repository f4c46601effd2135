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

/// How queries stand among keys: the last ones at one position, or the first
/// ones; as far as that is known, or, of operators that say so themselves, as
/// far as nothing else is.
enum class Standing { LastKnown, LastSaid, FirstSaid };

class Operands {
public:
  Operands(MLIRContext *context) : positions(context), values(positions) {}

  /// Sources of an operand [B, H, N, D] or [B * H, N, D], the nearest first.
  SmallVector<Operand> sourcesOf(Value operand);

  /// The operand of the value's node whose elements the value's are, each at
  /// its place; null where there is none.
  Value movedWhole(Value value);

  /// Whether the rows of a product's operand are channels of a projection, and
  /// what it sums its tokens; rows are its last dim but one, or its last one.
  bool isOfChannels(Value operand, bool hasRowsLast);

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

  /// Why it is not known that the last query [B, H, Nq, D] stands where the
  /// last key [B, H, Nk, D] does, and the others before them, of one sequence;
  /// empty where it is.
  std::string whyApart(Value query, Value key,
                       Standing standing = Standing::LastKnown);

  /// Whether queries and keys are as many, each of the token of its number.
  bool areOfSameRows(Value query, Value key);

  /// The number that a scalar always is.
  std::optional<double> scalar(Value value);

  /// The numbers that a list of so many always has.
  std::optional<SmallVector<int64_t>> integers(Value list, int64_t count);

private:
  std::optional<Operand> sourceAt(Value tensor, ArrayRef<AffineExpr> place,
                                  std::optional<AffineExpr> heads);
  Value followed(Value value, Place &place);

  Positions positions;
  ElementValues values;
};

/// Whether each element of the result is of the operands' at its place, and of
/// what is reduced of them.
bool keepsPlaces(Operation *op);

/// The axis of the channels that a product with a weight, or a convolution,
/// gives; nothing for other nodes.
std::optional<int64_t> channelAxis(Operation *op);

/// Whether the value is what a product with a weight, or a convolution, gives,
/// but for moves and scales.
bool isProjection(Value value);

/// Whether projections of activations are among what it is computed of, as they
/// are not in a cache that comes in.
bool isComputed(Value value);

/// Whether the value is the same in each run, but for sizes.
bool isOfWeights(Value value);

/// The deepest sources of key and value with one grouping; nothing where the
/// operands have none.
std::optional<std::pair<Operand, Operand>>
sharedSources(ArrayRef<Operand> keys, ArrayRef<Operand> values);

/// `cross` instead of `self` where there is a reason, which a remark at the
/// node says.
StringRef kindByRows(Operation *node, StringRef kind, StringRef reason);
/// The same by why queries and keys are apart.
StringRef kindByRows(Operation *node, StringRef kind, Value query, Value key,
                     Standing standing = Standing::LastKnown);

/// `self` where queries and keys are projected from one activation, or keys
/// from one of a layer before of which the queries' rows are computed, or where
/// nothing shows from which, else `cross`. Keys that are learned, not computed,
/// stand where their values do. Keys of which the last are of another sequence
/// are `cross`. Learned queries that look at a sequence are `cross`, and so are
/// computed ones that look at a learned memory. That is of sequences; which of
/// its rows are queries, `Operands::whyApart` knows.
StringRef kindOf(Value query, Value key, Value value);

} // namespace mlir::megactx::raise

#endif
