//===- Bfloat16.cpp - bf16 where the CPU has none -------------------------===//

#include "megactx/Runtime/Bfloat16.h"
#include "megactx/Runtime/KernelABI.h"

__bf16 __truncsfbf2(float value) {
  return mlir::megactx::truncateToBF16(value);
}
