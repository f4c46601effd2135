//===- Products.h - operands of products of matrices ------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_PRODUCTS_H
#define MEGACTX_LIB_RUNTIME_PRODUCTS_H

#include "megactx/Runtime/KernelABI.h"
#include <algorithm>
#include <initializer_list>

namespace megactx {

/// A dimension of size one may have any stride; libraries want a sensible one.
inline mctx_memref3 sensible(mctx_memref3 x) {
  if (x.sizes[2] == 1 && x.strides[1] != 1)
    x.strides[2] = 1;
  if (x.sizes[1] == 1 && x.strides[2] == 1)
    x.strides[1] = std::max<int64_t>(x.sizes[2], 1);
  return x;
}

/// Rows of all batches with one b are rows of one matrix, where those of each
/// of the others lie so.
inline void joinBatches(const mctx_memref3 &b,
                        std::initializer_list<mctx_memref3 *> others) {
  if (b.sizes[0] != 1)
    return;
  for (const mctx_memref3 *x : others)
    if (x->sizes[0] != (*others.begin())->sizes[0] ||
        x->strides[0] != x->sizes[1] * x->strides[1])
      return;
  for (mctx_memref3 *x : others) {
    x->sizes[1] *= x->sizes[0];
    x->sizes[0] = 1;
  }
}

} // namespace megactx

#endif
