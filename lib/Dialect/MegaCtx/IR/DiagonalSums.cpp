//===- DiagonalSums.cpp - sums along the diagonals of matrices ------------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace mlir::megactx;

LogicalResult DiagonalSumsOp::verify() {
  ShapedType matrix = typeOf(getMatrix()), sums = typeOf(getResult());
  for (unsigned i : {0, 1})
    if (failed(checkDim(*this, "result", sums, i, matrix, i, "matrix")))
      return failure();
  int64_t rows = matrix.getDimSize(2), columns = matrix.getDimSize(3);
  if (ShapedType::isDynamic(rows) || ShapedType::isDynamic(columns))
    return success();
  int64_t diagonals = std::max<int64_t>(0, rows + columns - 1);
  if (agree(sums.getDimSize(2), diagonals))
    return success();
  return emitOpError("expected a result of ")
         << diagonals << " diagonals, but got " << sums;
}

SmallVector<OpFoldResult> DiagonalSumsOp::sizes(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getMatrix());
  sizes.truncate(2);
  int64_t known = getResult().getType().getDimSize(2);
  if (!ShapedType::isDynamic(known)) {
    sizes.push_back(b.getIndexAttr(known));
    return sizes;
  }
  Value sides = b.add(b.dim(getMatrix(), 2), b.dim(getMatrix(), 3));
  sizes.push_back(b.max(b.sub(sides, b.index(1)), b.index(0)));
  return sizes;
}

FailureOr<SmallVector<Value>>
DiagonalSumsOp::decomposeOperation(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  Value matrix = getMatrix();
  Value rows = b.dim(matrix, 2), columns = b.dim(matrix, 3);
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0.0f));
  Value last = b.sub(rows, b.index(1));
  // Only says how many rows there are.
  Value each = tensor::EmptyOp::create(
      b, tensor::getMixedSizes(b, getLoc(), matrix)[2], b.getF32Type());
  Value sums = emitGeneric(
      b, each, b.filled(sizes(b), zero), {{3}, {0, 1, 2}},
      [&](Emitter &in, ValueRange x) -> Value {
        auto at = [&](int64_t i) -> Value {
          return linalg::IndexOp::create(in, i);
        };
        Value none = in.index(0), column = in.sub(in.add(at(2), at(3)), last);
        Value inside = in.both(in.le(none, column), in.lt(column, columns));
        Value element = in.extract(
            matrix, {at(0), at(1), at(3), in.select(inside, column, none)});
        return arith::AddFOp::create(in, x[1],
                                     in.select(inside, element, zero));
      });
  if (sums.getType() != getType())
    sums = tensor::CastOp::create(b, getType(), sums);
  return SmallVector<Value>{sums};
}
