//===- PackedWeights.h - weights in the products' own layout ----*- C++ -*-===//
//
// Owns copies of weights in the layout that oneDNN multiplies fastest. A copy
// is made at the first product of many rows and kept until the model is
// unloaded; the pages of the file that it was made from are given back, so that
// the process does not hold both.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_RUNTIME_PACKEDWEIGHTS_H
#define MEGACTX_LIB_RUNTIME_PACKEDWEIGHTS_H

#include "Weights.h"
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>

namespace megactx {

dnnl::engine &cpuEngine();

/// A packed copy of a plain matrix [k, n] with rows of n elements, or null
/// where it is no weight, or plain rows are as good.
std::shared_ptr<const dnnl::memory>
packedWeight(dnnl::memory::data_type type, int64_t k, int64_t n, void *plain);

} // namespace megactx

#endif
