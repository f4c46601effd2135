//===- VectorRow.h - a row of a linalg op as vectors ------------*- C++ -*-===//
//
// Owns the body of an op for all points of its innermost loop at once: a value
// that differs along the row is a vector, all others stay scalars.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOTASKS_VECTORROW_H
#define MEGACTX_LIB_CONVERSION_LINALGTOTASKS_VECTORROW_H

#include "../LinalgLoops/LinalgLoops.h"

namespace mlir::megactx {

class VectorRow : public LinalgLoops {
protected:
  using LinalgLoops::LinalgLoops;

  /// Whether operands have a row's `count` elements next to one another, or one
  /// for several or all of them, outputs as is said, and the body computes
  /// element by element.
  bool isVectorRow(int64_t count, Neighbours outputs = Neighbours::Next);

  /// An operand's row of `count` elements, from where the innermost loop is, a
  /// multiple of `count`.
  Value loadRow(OpOperand &operand, int64_t count);
  /// The body; `carried` are the outputs' rows.
  SmallVector<Value> rowBody(int64_t count, ValueRange carried);
  void storeRows(ValueRange rows);

private:
  Value loadInput(OpOperand &operand, int64_t count);
  Value rowIndices(int64_t count);
  void vectorize(Operation &inside, int64_t count, IRMapping &map);
};

} // namespace mlir::megactx

#endif
