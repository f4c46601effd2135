//===- ChunkedProducts.h - products around a Softmax of chunks --*- C++ -*-===//
//
// Owns which products of matrices the scores of a Softmax are made of, which
// ones its probabilities go into, and the tensors whose rows all these
// multiply. Where each row goes is not its matter.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_CHUNKEDPRODUCTS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_CHUNKEDPRODUCTS_H

#include "ElementValues.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::megactx::raise {

/// What a value is moved and added up of, back to sums of products.
llvm::SetVector<Value> addedUpTo(Value value);

struct ChunkedProducts {
  SmallVector<Operation *> scores;   ///< queries x keys, of parts of the row
  SmallVector<Operation *> contexts; ///< probabilities x values, likewise
  Value sum;                         ///< of the contexts, or the only one

  /// Whether it is made of one of the products of queries and keys.
  bool hasScores(Value value) const;
};

/// Nothing where the Softmax is between other things.
std::optional<ChunkedProducts> chunkedProductsOf(Operation *softmax,
                                                 ElementValues &values,
                                                 Positions &positions);

/// Who asks for sizes of scores or probabilities gets them without computing
/// these.
void giveSizes(const ChunkedProducts &products, Operation *softmax,
               ElementValues &values, Positions &positions);

/// A tensor that is [B, H, N, D] or, of one head, [B, N, D] when its dims are
/// permuted.
struct Rows {
  Value tensor;
  SmallVector<int64_t> perm; ///< empty where nothing is

  int64_t dim(int64_t i) const { return perm.empty() ? i : perm[i]; }
  /// The sizes B, H, N and D.
  Place sizes(ElementValues &values, Positions &positions) const;
  /// Where the element [b, h, row, depth] is.
  Place at(ArrayRef<AffineExpr> place) const;
  /// The tensor [B, H, N, D].
  Value emit(ImplicitLocOpBuilder &b) const;
};

/// The rows that those of a product's operand [.., rows, D], or [.., D, rows],
/// are taken of, wherever nodes moved them from; the farthest ones.
std::optional<Rows> rowsOf(Value operand, bool isTransposed,
                           ElementValues &values, Positions &positions);

} // namespace mlir::megactx::raise

#endif
