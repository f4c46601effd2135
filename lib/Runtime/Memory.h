//===- Memory.h - classes of sizes ------------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_MEMORY_H
#define MEGACTX_LIB_RUNTIME_MEMORY_H

#include <cstdint>

namespace megactx {

constexpr uint64_t kAlignment = 64;
/// No tensor is as large; sizes beyond come from shapes that overflowed.
constexpr uint64_t kMostBytes = uint64_t(1) << 46;

/// The bytes of a block for `size` bytes: steps of an eighth of their power of
/// two, so that little is lost and freed blocks fit again. At least 1 step.
inline uint64_t sizeClass(uint64_t size) {
  uint64_t step = kAlignment;
  while (step * 8 < size)
    step *= 2;
  return size == 0 ? step : (size + step - 1) / step * step;
}

} // namespace megactx

#endif
