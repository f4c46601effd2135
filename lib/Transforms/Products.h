//===- Products.h - which ops are matrix products ---------------*- C++ -*-===//

#ifndef MEGACTX_LIB_TRANSFORMS_PRODUCTS_H
#define MEGACTX_LIB_TRANSFORMS_PRODUCTS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace mlir::megactx {

/// Whether the op is one that the runtime may multiply: nothing is fused into
/// it. Null is none.
inline bool isProduct(Operation *op) {
  auto linalgOp = dyn_cast_or_null<linalg::LinalgOp>(op);
  return linalgOp && linalg::isaContractionOpInterface(linalgOp);
}

} // namespace mlir::megactx

#endif
