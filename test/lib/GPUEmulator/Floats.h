//===- Floats.h - floats of 2 bytes -----------------------------*- C++ -*-===//

#ifndef MEGACTX_TEST_GPUEMULATOR_FLOATS_H
#define MEGACTX_TEST_GPUEMULATOR_FLOATS_H

#include <cstdint>
#include <cstring>

namespace megactx::emulator {

/// bf16 is the upper half of f32.
inline float toFloat(bool isBF16, uint16_t bits) {
  if (isBF16) {
    uint32_t wide = uint32_t(bits) << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
  }
  _Float16 half;
  memcpy(&half, &bits, 2);
  return half;
}

} // namespace megactx::emulator

#endif
