//===- Bfloat16.h - bf16 where the CPU has none -----------------*- C++ -*-===//

#ifndef MEGACTX_RUNTIME_BFLOAT16_H
#define MEGACTX_RUNTIME_BFLOAT16_H

#include <cstdint>
#include <cstring>

namespace mlir::megactx {

/// The nearest bf16, ties to even; NaN stays NaN. In integers: a conversion
/// would call __truncsfbf2, which this is for.
inline __bf16 truncateToBF16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  bits += value == value ? 0x7fff + ((bits >> 16) & 1) : 0;
  uint16_t upper = bits >> 16;
  upper |= value == value ? 0 : 0x40;
  __bf16 result;
  memcpy(&result, &upper, sizeof(result));
  return result;
}

} // namespace mlir::megactx

#endif
