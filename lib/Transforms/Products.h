//===- Products.h - ops that are products of matrices or convolutions -*-===//

#ifndef MEGACTX_LIB_TRANSFORMS_PRODUCTS_H
#define MEGACTX_LIB_TRANSFORMS_PRODUCTS_H

#include "megactx/Dialect/MegaCtx/IR/Convolution.h"

namespace mlir::megactx {

/// Whether the op is one that the runtime may compute, a product of matrices or
/// a convolution: nothing is fused into it. Null is none.
inline bool isProduct(Operation *op) {
  auto linalgOp = dyn_cast_or_null<linalg::LinalgOp>(op);
  auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
  return linalgOp && (linalg::isaContractionOpInterface(linalgOp) ||
                      (generic && convolutionOf(generic)));
}

} // namespace mlir::megactx

#endif
