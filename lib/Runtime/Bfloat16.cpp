//===- Bfloat16.cpp - bf16 where the CPU has none -------------------------===//

#include "megactx/Runtime/Bfloat16.h"
#include "megactx/Runtime/KernelABI.h"
#include <cmath>

__bf16 __truncsfbf2(float value) {
  return mlir::megactx::truncateToBF16(value);
}

/// By the f32 next to zero, whose last bit says whether anything was cut off,
/// so that what is rounded twice is rounded as at once.
__bf16 __truncdfbf2(double value) {
  float narrow = static_cast<float>(value);
  uint32_t bits;
  memcpy(&bits, &narrow, sizeof(bits));
  if (value == value && narrow != value) {
    bits -= std::abs(static_cast<double>(narrow)) > std::abs(value);
    bits |= 1;
    memcpy(&narrow, &bits, sizeof(narrow));
  }
  return mlir::megactx::truncateToBF16(narrow);
}
