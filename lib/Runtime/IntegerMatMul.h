//===- IntegerMatMul.h - products of bytes ----------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_INTEGERMATMUL_H
#define MEGACTX_LIB_RUNTIME_INTEGERMATMUL_H

#include "megactx/Runtime/KernelABI.h"

namespace megactx {

/// c = a b modulo 2^32, of uint8_t and int8_t into int32_t; shapes and strides
/// are as in KernelABI.h.
void multiplyBytes(const mctx_memref3 &a, const mctx_memref3 &b,
                   const mctx_memref3 &c);

/// The same for CPUs that sum products of bytes in 16 bits, which saturate: in
/// f32, 256 terms at a time, of which its 24 bits hold the sums.
void multiplyBytesInFloats(const mctx_memref3 &a, const mctx_memref3 &b,
                           const mctx_memref3 &c);

} // namespace megactx

#endif
