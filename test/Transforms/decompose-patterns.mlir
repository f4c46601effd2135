// RUN: megactx-opt %s --megactx-decompose-patterns | FileCheck %s

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>

// CHECK-LABEL: @views_that_differ_accumulate
// CHECK: megactx.fused_attention {{.*}} [#megactx.piece<lo<p - 3>, hi<p + 1>>] {scale
// CHECK: megactx.fused_attention {{.*}} [#megactx.piece<hi<p - 3>, digits<2, [0]: [0], [1]: [1]>>] {accumulate
func.func @views_that_differ_accumulate(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal and (window<left = 3, right = 0> or strided<stride = 2>)>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @pattern_without_keys_still_writes
// CHECK: megactx.fused_attention {{.*}} [#megactx.piece<rows<0, 0>>]
func.func @pattern_without_keys_still_writes(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal minus causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}
