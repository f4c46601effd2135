// The distribution's own driver, with our dialects and passes loaded into it.
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --load-pass-plugin=%plugin \
// RUN:   --pass-pipeline='builtin.module(megactx-sparsify{pattern="window<left = 3, right = 0>"})' | FileCheck %s
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --load-pass-plugin=%plugin \
// RUN:   --pass-pipeline='builtin.module(megactx-sparsify{pattern="window<left = 3, right = 0>"},megactx-decompose-patterns)' \
// RUN:   | FileCheck %s --check-prefix=PIECES

!t = tensor<1x2x16x8xf32>
!s = !megactx.source<tensor<1x2x16x8xf32>, tensor<1x2x16x8xf32>>

// CHECK-LABEL: @attention
// CHECK: megactx.source {{.*}} pattern(#megactx.pattern<window<left = 3, right = 0> and causal>)
// PIECES-LABEL: @attention
// PIECES: #megactx.piece<lo<p - 3>, hi<p + 1>>
func.func @attention(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}
