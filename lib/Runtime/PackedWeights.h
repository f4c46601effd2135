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

namespace megactx {

dnnl::engine &cpuEngine();

/// A packed copy of a plain matrix [k, n] with rows of n elements, or null
/// where it is no weight, or plain rows are as good.
std::shared_ptr<const dnnl::memory>
packedWeight(dnnl::memory::data_type type, int64_t k, int64_t n, void *plain);

/// A copy in another layout of a tensor that lies in `plain`; kept, where that
/// is a weight.
std::shared_ptr<const dnnl::memory> packedCopy(const dnnl::memory::desc &from,
                                               const dnnl::memory::desc &to,
                                               void *plain);

} // namespace megactx

#endif
