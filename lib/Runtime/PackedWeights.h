//===- PackedWeights.h - weights in the products' own layout ----*- C++ -*-===//
//
// Owns copies of weights in the layouts that oneDNN computes with fastest. A
// copy is made at the first product of many rows, or the first convolution, and
// kept until the model is unloaded; the pages of the file that it was made from
// are given back, so that the process does not hold both.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_RUNTIME_PACKEDWEIGHTS_H
#define MEGACTX_LIB_RUNTIME_PACKEDWEIGHTS_H

#include "Weights.h"
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>

namespace megactx {

dnnl::engine &cpuEngine();

/// What a product is of: c = a b.
struct ProductTypes {
  dnnl::memory::data_type a, b, c;
  bool operator<(const ProductTypes &other) const {
    return std::tie(a, b, c) < std::tie(other.a, other.b, other.c);
  }
};

/// A packed copy of a matrix b [k, n] whose rows begin `row` elements apart, or
/// null where it is no weight, or plain rows are as good.
std::shared_ptr<const dnnl::memory> packedWeight(const ProductTypes &types,
                                                 int64_t k, int64_t n,
                                                 int64_t row, void *plain);

/// A copy in another layout of a tensor that lies in `plain`; kept, where that
/// is a weight.
std::shared_ptr<const dnnl::memory> packedCopy(const dnnl::memory::desc &from,
                                               const dnnl::memory::desc &to,
                                               void *plain);

} // namespace megactx

#endif
