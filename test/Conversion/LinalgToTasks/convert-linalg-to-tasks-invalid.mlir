// RUN: not megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-tasks{grain=0}))' 2>&1 | FileCheck %s --check-prefix=GRAIN
// RUN: not megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-tasks{vector-bits=100}))' 2>&1 | FileCheck %s --check-prefix=BITS

// GRAIN: :[[#@LINE+2]]:1: error: expected a grain of at least 1, but got 0
// BITS: :[[#@LINE+1]]:1: error: expected vector-bits of 128, 256 or 512, but got 100
func.func @f() {
  return
}
