//===- Products.h - operands of products of matrices ------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_PRODUCTS_H
#define MEGACTX_LIB_RUNTIME_PRODUCTS_H

#include "megactx/Runtime/KernelABI.h"
#include <algorithm>

namespace megactx {

/// A dimension of size one may have any stride; libraries want a sensible one.
inline mctx_memref3 sensible(mctx_memref3 x) {
  if (x.sizes[2] == 1 && x.strides[1] != 1)
    x.strides[2] = 1;
  if (x.sizes[1] == 1 && x.strides[2] == 1)
    x.strides[1] = std::max<int64_t>(x.sizes[2], 1);
  return x;
}

/// Rows of all batches with one b are rows of one matrix, where they lie so.
inline void joinBatches(mctx_memref3 &a, const mctx_memref3 &b,
                        mctx_memref3 &c) {
  if (b.sizes[0] != 1 || a.sizes[0] != c.sizes[0] ||
      a.strides[0] != a.sizes[1] * a.strides[1] ||
      c.strides[0] != c.sizes[1] * c.strides[1])
    return;
  for (mctx_memref3 *x : {&a, &c}) {
    x->sizes[1] *= x->sizes[0];
    x->sizes[0] = 1;
  }
}

} // namespace megactx

#endif
