//===- NarrowFloats.h - floats of 16 bits from and to f32 -------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_NARROWFLOATS_H
#define MEGACTX_LIB_RUNTIME_NARROWFLOATS_H

#include <cstdint>

namespace megactx {

/// How a row of a type becomes f32, and back, rounded to nearest even.
/// `stride`, in elements, is between those that are read.
struct NarrowFloats {
  void (*widen)(const void *from, int64_t stride, float *to, int64_t count);
  void (*narrow)(const float *from, void *to, int64_t count);
};

/// By the CPU's instructions, where it has them.
extern const NarrowFloats kHalf, kBFloat;

} // namespace megactx

#endif
