// RUN: megactx-opt %s | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-attention-to-linalg | FileCheck %s --check-prefix=LINALG

!q = tensor<2x4x?x8xbf16>
!k = tensor<2x2x?x8xbf16>
!v = tensor<2x2x?x16xbf16>
!o = tensor<2x4x?x16xbf16>
!row = tensor<2x4x?xf32>
!bias = tensor<1x4x?x?xf32>
!source = !megactx.source<!k, !v>

// CHECK-LABEL: @over_sources
// CHECK: megactx.attention_backward %{{.*}}, %{{.*}}, %{{.*}} out(%{{.*}}) lse(%{{.*}}) dout(%{{.*}}) dlse(%{{.*}}) offset(%{{.*}}) {bias_gradients, scale = 1.250000e-01 : f32}
func.func @over_sources(%q: !q, %k: !k, %v: !v, %bias: !bias, %out: !o, %lse: !row, %dout: !o, %p: index) -> (!q, !bias) {
  %a = megactx.source %k, %v bias(%bias) pattern(#megactx.pattern<causal>) : (!k, !v, !bias) -> !source
  %b = megactx.source %k, %v pattern(#megactx.pattern<dense>) : (!k, !v) -> !source
  %g:6 = megactx.attention_backward %q, %a, %b out(%out) lse(%lse) dout(%dout) dlse(%lse) offset(%p) {scale = 0.125 : f32, bias_gradients}
      : (!q, !source, !source, !o, !row, !o, !row, index) -> (!q, !k, !v, !k, !v, !bias)
  return %g#0, %g#5 : !q, !bias
}

// CHECK-LABEL: @of_one_piece
// CHECK: megactx.online_attention_backward %{{.*}}, %{{.*}}, %{{.*}} bias(%{{.*}}) lse(%{{.*}}) delta(%{{.*}}) dout(%{{.*}}) outs(%{{.*}}, %{{.*}}, %{{.*}} bias(%{{.*}})) #megactx.piece<hi<p + 1>> {scale
// Each key head's sums are over the query heads that read it.
// LINALG-LABEL: @of_one_piece
// LINALG: tensor.expand_shape %{{.*}} {{\[\[}}0], [1, 2], [3], [4]] {{.*}} into tensor<2x2x2x?x8xbf16>
// LINALG: iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]
// LINALG: return
func.func @of_one_piece(%q: !q, %k: !k, %v: !v, %bias: !bias, %dout: !o, %row: !row, %dq: tensor<2x4x?x8xf32>, %dk: tensor<2x2x?x8xf32>, %dv: tensor<2x2x?x16xf32>)
    -> (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, !bias) {
  %g:4 = megactx.online_attention_backward %q, %k, %v bias(%bias) lse(%row) delta(%row) dout(%dout) outs(%dq, %dk, %dv bias(%bias)) #megactx.piece<hi<p + 1>> {scale = 1.0 : f32}
      : (!q, !k, !v, !bias, !row, !row, !o, tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, !bias) -> (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, !bias)
  return %g#0, %g#1, %g#2, %g#3 : tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, !bias
}

// CHECK-LABEL: @of_one_kernel
// CHECK: megactx.fused_query_gradient {{.*}} outs(%{{.*}}) [#megactx.piece<all>] {scale
// CHECK: megactx.fused_key_gradient {{.*}} outs(%{{.*}}, %{{.*}}) [#megactx.piece<all>] {scale
func.func @of_one_kernel(%q: memref<2x4x?x8xbf16>, %k: memref<2x2x?x8xbf16>, %v: memref<2x2x?x16xbf16>, %row: memref<2x4x?xf32>, %dout: memref<2x4x?x16xbf16>,
    %dq: memref<2x4x?x8xf32>, %dk: memref<2x2x?x8xf32>, %dv: memref<2x2x?x16xf32>) {
  megactx.fused_query_gradient %q, %k, %v lse(%row) delta(%row) dout(%dout) outs(%dq) [#megactx.piece<all>] {scale = 1.0 : f32}
      : (memref<2x4x?x8xbf16>, memref<2x2x?x8xbf16>, memref<2x2x?x16xbf16>, memref<2x4x?xf32>, memref<2x4x?xf32>, memref<2x4x?x16xbf16>, memref<2x4x?x8xf32>) -> ()
  megactx.fused_key_gradient %q, %k, %v lse(%row) delta(%row) dout(%dout) outs(%dk, %dv) [#megactx.piece<all>] {scale = 1.0 : f32}
      : (memref<2x4x?x8xbf16>, memref<2x2x?x8xbf16>, memref<2x2x?x16xbf16>, memref<2x4x?xf32>, memref<2x4x?xf32>, memref<2x4x?x16xbf16>, memref<2x2x?x8xf32>, memref<2x2x?x16xf32>) -> ()
  return
}

// CHECK-LABEL: @of_one_bias
// CHECK: megactx.fused_bias_gradient {{.*}} outs(%{{.*}}) [#megactx.piece<all>] {scale = 1.000000e+00 : f32} : {{.*}}, tensor<16x1x4x?xf32>) -> tensor<16x1x4x?xf32>
// CHECK: megactx.diagonal_sums %{{.*}} : tensor<1x4x?x?xf32> to tensor<1x4x?xf32>
// LINALG-LABEL: @of_one_bias
// LINALG: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel", "reduction"]
// LINALG: tensor.extract
// LINALG-NOT: diagonal_sums
func.func @of_one_bias(%q: !q, %k: !k, %v: !v, %bias: !bias, %row: !row, %dout: !o, %parts: tensor<16x1x4x?xf32>) -> (tensor<16x1x4x?xf32>, tensor<1x4x?xf32>) {
  %0 = megactx.fused_bias_gradient %q, %k, %v bias(%bias) lse(%row) delta(%row) dout(%dout) outs(%parts) [#megactx.piece<all>] {scale = 1.0 : f32}
      : (!q, !k, !v, !bias, !row, !row, !o, tensor<16x1x4x?xf32>) -> tensor<16x1x4x?xf32>
  %1 = megactx.diagonal_sums %bias : !bias to tensor<1x4x?xf32>
  return %0, %1 : tensor<16x1x4x?xf32>, tensor<1x4x?xf32>
}
