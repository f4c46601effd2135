// RUN: megactx-opt %s --megactx-decompose-patterns --megactx-fuse-attention-pieces --cse --canonicalize | FileCheck %s
// RUN: megactx-opt %s --megactx-decompose-patterns --megactx-fuse-attention-pieces="max-head-dim=4 max-gradient-dim=4" | FileCheck %s --check-prefix=LEFT
// RUN: megactx-opt %s --megactx-decompose-patterns --megactx-fuse-attention-pieces=bias-parts=1 --cse --canonicalize | FileCheck %s --check-prefix=ONE

!t = tensor<1x2x?x8xf32>
!r = tensor<1x2x?xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>

// All rows come first, whatever the order of the links.
// CHECK-LABEL: @views_that_differ_accumulate
// CHECK: %[[A:.+]]:2 = megactx.fused_attention {{.*}} [#megactx.piece<lo<p - 3>, hi<p + 1>>] {scale
// CHECK: megactx.fused_attention {{.*}} outs(%[[A]]#0, %[[A]]#1) [#megactx.piece<hi<p - 3>, digits<2, [0]: [0], [1]: [1]>>] {accumulate
// LEFT-LABEL: @views_that_differ_accumulate
// LEFT-NOT: megactx.fused_attention
func.func @views_that_differ_accumulate(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal and (window<left = 3, right = 0> or strided<stride = 2>)>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @one_view_is_one_kernel
// CHECK: megactx.fused_attention {{.*}} [#megactx.piece<{{.*}}>, #megactx.piece<{{.*}}>, #megactx.piece<{{.*}}>] {scale
// CHECK-NOT: megactx.fused_attention
func.func @one_view_is_one_kernel(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<window<left = 2, right = 2> or global_keys<first = 3> or global_queries<first = 2>>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @sources_do_not_mix
// CHECK: megactx.fused_attention %{{.+}}, %[[K:.+]], %[[V:.+]] outs{{.*}} [#megactx.piece<hi<p + 1>>] {scale
// CHECK: megactx.fused_attention %{{.+}}, %[[V]], %[[K]] outs{{.*}} [#megactx.piece<all>] {accumulate
// CHECK: megactx.fused_attention %{{.+}}, %[[K]], %[[V]] outs{{.*}} [#megactx.piece<hi<p + 1>>] {accumulate
func.func @sources_do_not_mix(%q: !t, %k: !t, %v: !t) -> !t {
  %s0 = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %s1 = megactx.source %v, %k pattern(#megactx.pattern<dense>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s0, %s1, %s0 {scale = 1.0 : f32} : (!t, !s, !s, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @steps_have_no_views
// CHECK: megactx.fused_attention {{.*}} [#megactx.piece<hi<p + 1>, test<{{.*}}>>]
func.func @steps_have_no_views(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal and strided<stride = 2>>) {key_step = 3} : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @pattern_without_keys_still_writes
// CHECK-DAG: %[[ZERO:.+]] = arith.constant 0.000000e+00 : f16
// CHECK-DAG: %[[LEAST:.+]] = arith.constant 0xFF800000 : f32
// CHECK-NOT: megactx
// CHECK-DAG: linalg.fill ins(%[[ZERO]] : f16)
// CHECK-DAG: linalg.fill ins(%[[LEAST]] : f32)
!h = tensor<1x2x?x8xf16>
func.func @pattern_without_keys_still_writes(%q: !h, %k: !h, %v: !h) -> (!h, !r) {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal minus causal>) : (!h, !h) -> !megactx.source<!h, !h>
  %o, %lse = megactx.attention %q, %s {scale = 1.0 : f32} : (!h, !megactx.source<!h, !h>) -> (!h, !r)
  return %o, %lse : !h, !r
}

// CHECK-LABEL: @state_from_elsewhere_stays
// CHECK: megactx.online_attention
// CHECK: megactx.finish_attention
func.func @state_from_elsewhere_stays(%q: !t, %acc: !t, %max: !r, %sum: !r, %lse: !r) -> !t {
  %l:3 = megactx.online_attention %q, %q, %q outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (!t, !t, !t, !t, !r, !r) -> (!t, !r, !r)
  %o:2 = megactx.finish_attention %l#0, %l#1, %l#2 outs(%q, %lse) : (!t, !r, !r, !t, !r) -> (!t, !r)
  return %o#0 : !t
}

// Gradients of queries by how query rows are seen, those of keys by how key rows are: every query sees the last key of eight, of which other keys see nothing.
// CHECK-LABEL: @gradients_of_two_sides
// CHECK: %[[A:.+]]:2 = megactx.fused_key_gradient {{.*}} [#megactx.piece<lo<p - 3>, hi<p + 1>>] {scale
// CHECK: %[[B:.+]]:2 = megactx.fused_key_gradient {{.*}} outs(%[[A]]#0, %[[A]]#1) [#megactx.piece<hi<p - 3>, digits<8, [{{.*}}]: [7]>>] {scale
// CHECK: %[[Q:.+]] = megactx.fused_query_gradient {{.*}} [#megactx.piece<hi<p - 3>, digits<8, [{{.*}}]: [7]>>, #megactx.piece<lo<p - 3>, hi<p + 1>>] {scale
// CHECK: return %[[Q]], %[[B]]#0, %[[B]]#1
// LEFT-LABEL: @gradients_of_two_sides
// LEFT: megactx.online_attention_backward
func.func @gradients_of_two_sides(%q: !t, %k: !t, %v: !t, %out: !t, %lse: !r, %dout: !t) -> (!t, !t, !t) {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal and (window<left = 3, right = 0> or columns<block = 8, first = 7, count = 1>)>) : (!t, !t) -> !s
  %g:3 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32} : (!t, !s, !t, !r, !t) -> (!t, !t, !t)
  return %g#0, %g#1, %g#2 : !t, !t, !t
}

// Each query's elements are one task's, in place.
// CHECK-LABEL: @gradient_of_a_bias
// CHECK: %[[ZERO:.+]] = linalg.fill {{.*}} -> tensor<1x1x1x?x?xf32>
// CHECK: %[[SUM:.+]] = megactx.fused_bias_gradient {{.*}} outs(%[[ZERO]]) [#megactx.piece<hi<p + 1>>] {scale
// CHECK: tensor.collapse_shape %[[SUM]] {{.*}} into tensor<1x1x?x?xf32>
!b = tensor<1x1x?x?xf32>
func.func @gradient_of_a_bias(%q: !t, %k: !t, %v: !t, %bias: !b, %out: !t, %lse: !r, %dout: !t) -> !b {
  %s = megactx.source %k, %v bias(%bias) pattern(#megactx.pattern<causal>) : (!t, !t, !b) -> !s
  %g:4 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32, bias_gradients} : (!t, !s, !t, !r, !t) -> (!t, !t, !t, !b)
  return %g#3 : !b
}

// Elements of many queries are made in parts, one view of rows after another, and added.
// CHECK-LABEL: @gradient_of_a_bias_per_key
// CHECK: %[[A:.+]] = megactx.fused_bias_gradient {{.*}} [#megactx.piece<lo<p - 3>, hi<p + 1>>] {scale
// CHECK: %[[B:.+]] = megactx.fused_bias_gradient {{.*}} outs(%[[A]]) [#megactx.piece<hi<p - 3>, digits<{{.*}}>>] {scale
// CHECK: %[[SUM:.+]] = linalg.generic {{.*}} ins(%[[B]] : tensor<16x1x2x1x?xf32>) outs({{.*}} : tensor<1x2x1x?xf32>)
// CHECK: return %[[SUM]]
// ONE-LABEL: @gradient_of_a_bias_per_key
// ONE: %[[B:.+]] = megactx.fused_bias_gradient {{.*}} -> tensor<1x1x2x1x?xf32>
// ONE: %[[B:.+]] = megactx.fused_bias_gradient {{.*}} -> tensor<1x1x2x1x?xf32>
// ONE-NEXT: %[[SUM:.+]] = tensor.collapse_shape %[[B]] {{.*}} into tensor<1x2x1x?xf32>
// ONE: return %[[SUM]]
!key = tensor<1x2x1x?xf32>
func.func @gradient_of_a_bias_per_key(%q: !t, %k: !t, %v: !t, %bias: !key, %out: !t, %lse: !r, %dout: !t) -> !key {
  %s = megactx.source %k, %v bias(%bias) pattern(#megactx.pattern<causal and (window<left = 3, right = 0> or strided<stride = 2>)>) : (!t, !t, !key) -> !s
  %g:4 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32, bias_gradients} : (!t, !s, !t, !r, !t) -> (!t, !t, !t, !key)
  return %g#3 : !key
}

// By distance where nothing else is asked for: no matrix of all pairs.
// CHECK-LABEL: @gradient_of_a_table
// CHECK-NOT: fill {{.*}} tensor<1x2x?x?xf32>
// CHECK: %[[PART:.+]] = megactx.fused_bias_gradient {{.*}} -> tensor<16x1x2x?xf32>
// CHECK: %[[SUM:.+]] = linalg.generic {{.*}} ins(%[[PART]] : tensor<16x1x2x?xf32>) outs({{.*}} : tensor<1x2x?xf32>)
// CHECK-NOT: diagonal_sums
// CHECK: return %[[SUM]]
// ONE-LABEL: @gradient_of_a_table
// ONE: %[[PART:.+]] = megactx.fused_bias_gradient {{.*}} -> tensor<1x1x2x?xf32>
// ONE: %[[SUM:.+]] = tensor.collapse_shape %[[PART]] {{.*}} into tensor<1x2x?xf32>
// ONE-NOT: diagonal_sums
// ONE: return %[[SUM]]
!full = tensor<1x2x?x?xf32>
!table = tensor<1x2x?xf32>
func.func @gradient_of_a_table(%q: !t, %k: !t, %v: !t, %bias: !full, %out: !t, %lse: !r, %dout: !t) -> !table {
  %s = megactx.source %k, %v bias(%bias) pattern(#megactx.pattern<causal>) : (!t, !t, !full) -> !s
  %g:4 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32, bias_gradients} : (!t, !s, !t, !r, !t) -> (!t, !t, !t, !full)
  %table = megactx.diagonal_sums %g#3 : !full to !table
  return %table : !table
}

// CHECK-LABEL: @gradient_of_a_bias_read_twice
// CHECK: tensor.collapse_shape {{.*}} into tensor<1x2x?x?xf32>
// CHECK: megactx.diagonal_sums
func.func @gradient_of_a_bias_read_twice(%q: !t, %k: !t, %v: !t, %bias: !full, %out: !t, %lse: !r, %dout: !t) -> (!full, !table) {
  %s = megactx.source %k, %v bias(%bias) pattern(#megactx.pattern<causal>) : (!t, !t, !full) -> !s
  %g:4 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32, bias_gradients} : (!t, !s, !t, !r, !t) -> (!t, !t, !t, !full)
  %table = megactx.diagonal_sums %g#3 : !full to !table
  return %g#3, %table : !full, !table
}
