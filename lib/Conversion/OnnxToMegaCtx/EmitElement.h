//===- EmitElement.h - tensors of symbolic elements -------------*- C++ -*-===//
//
// Owns the code that computes what elements are said to be.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_EMITELEMENT_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_EMITELEMENT_H

#include "Positions.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx::raise {

/// A tensor that has the element at each of its places. `shape` is made of
/// numbers and of the sizes of `positions`; `variables` says what each variable
/// of the element is at the place (d0, d1, ..).
Value emitTensor(ImplicitLocOpBuilder &b, const Positions &positions,
                 const Element &element, Type elementType,
                 ArrayRef<AffineExpr> shape, ArrayRef<AffineExpr> variables);

} // namespace mlir::megactx::raise

#endif
