//===- MatMul.h - matrix products by oneDNN ---------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_MATMUL_H
#define MEGACTX_LIB_RUNTIME_MATMUL_H

#include "PackedWeights.h"
#include "megactx/Runtime/KernelABI.h"

namespace megactx {

constexpr ProductTypes kReal{dnnl::memory::data_type::f32,
                             dnnl::memory::data_type::f32,
                             dnnl::memory::data_type::f32};

/// c = a b, of types that oneDNN multiplies on this CPU; shapes and strides are
/// as in KernelABI.h. Throws what oneDNN throws.
void multiply(const mctx_memref3 &a, const mctx_memref3 &b,
              const mctx_memref3 &c, const ProductTypes &types);

} // namespace megactx

#endif
