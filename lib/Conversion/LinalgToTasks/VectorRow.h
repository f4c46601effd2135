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

  /// Whether operands have a row's elements next to one another, or one for all
  /// of it, outputs the former, and the body computes element by element.
  bool isVectorRow();

  /// The outputs' rows of `count` elements, where the innermost loop is at 0.
  SmallVector<Value> loadRows(int64_t count);
  /// The body; `carried` are the outputs' rows.
  SmallVector<Value> rowBody(int64_t count, ValueRange carried);
  void storeRows(ValueRange rows);

private:
  Value loadRow(OpOperand &operand, int64_t count);
  void vectorize(Operation &inside, int64_t count, IRMapping &map);
};

} // namespace mlir::megactx

#endif
