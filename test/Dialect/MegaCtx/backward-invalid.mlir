// RUN: megactx-opt %s --split-input-file --verify-diagnostics

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
!s = !megactx.source<!t, !t>
func.func @attention_backward_c1_dout(%q: !t, %s: !s, %out: !t, %lse: !row, %dout: tensor<1x4x?x16xf32>) {
  // expected-error@+1 {{expected dout dim 3 to equal value dim 3, but got 16 vs 8}}
  %g:3 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32} : (!t, !s, !t, !row, tensor<1x4x?x16xf32>) -> (!t, !t, !t)
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
!s = !megactx.source<!t, !t>
func.func @attention_backward_c1_lse(%q: !t, %s: !s, %out: !t, %lse: tensor<1x4x?xf16>, %dout: !t) {
  // expected-error@+1 {{expected lse of element type f32, but got 'tensor<1x4x?xf16>'}}
  %g:3 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32} : (!t, !s, !t, tensor<1x4x?xf16>, !t) -> (!t, !t, !t)
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
!s = !megactx.source<!t, !t>
func.func @attention_backward_c2_number(%q: !t, %s: !s, %out: !t, %lse: !row, %dout: !t) {
  // expected-error@+1 {{expected 3 gradients, but got 2}}
  %g:2 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32} : (!t, !s, !t, !row, !t) -> (!t, !t)
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
!s = !megactx.source<!t, !t>
func.func @attention_backward_c2_type(%q: !t, %s: !s, %out: !t, %lse: !row, %dout: !t) {
  // expected-error@+1 {{expected dk of element type 'f32', but got 'tensor<1x4x?x8xbf16>'}}
  %g:3 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32} : (!t, !s, !t, !row, !t) -> (!t, tensor<1x4x?x8xbf16>, !t)
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
!s = !megactx.source<!t, !t>
func.func @attention_backward_c3(%q: !t, %s: !s, %out: !t, %lse: !row, %dout: !t) {
  // expected-error@+1 {{expected a positive and finite softcap}}
  %g:3 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32, softcap = 0.0 : f32} : (!t, !s, !t, !row, !t) -> (!t, !t, !t)
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
func.func @online_attention_backward_c1(%q: !t, %k: tensor<1x3x?x8xf32>, %row: !row) {
  // expected-error@+1 {{expected the number of query heads to be a multiple of the key heads, but got 4 and 3}}
  %g:3 = megactx.online_attention_backward %q, %k, %k lse(%row) delta(%row) dout(%q) outs(%q, %k, %k) #megactx.piece<all> {scale = 1.0 : f32}
      : (!t, tensor<1x3x?x8xf32>, tensor<1x3x?x8xf32>, !row, !row, !t, !t, tensor<1x3x?x8xf32>, tensor<1x3x?x8xf32>) -> (!t, tensor<1x3x?x8xf32>, tensor<1x3x?x8xf32>)
  return
}

// -----

!t = tensor<1x4x?x8xf16>
!row = tensor<1x4x?xf32>
func.func @online_attention_backward_c2(%q: !t, %dk: tensor<1x4x?x8xf32>, %row: !row) {
  // expected-error@+1 {{expected dq of element type 'f32', but got 'tensor<1x4x?x8xf16>'}}
  %g:3 = megactx.online_attention_backward %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%q, %dk, %dk) #megactx.piece<all> {scale = 1.0 : f32}
      : (!t, !t, !t, !row, !row, !t, !t, tensor<1x4x?x8xf32>, tensor<1x4x?x8xf32>) -> (!t, tensor<1x4x?x8xf32>, tensor<1x4x?x8xf32>)
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
func.func @fused_query_gradient_c1(%q: !t, %row: !row) {
  // expected-error@+1 {{expected at least one piece}}
  %g = megactx.fused_query_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%q) [] {scale = 1.0 : f32} : (!t, !t, !t, !row, !row, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
func.func @fused_key_gradient_c1(%q: !t, %row: !row) {
  // expected-error@+1 {{expected 2 results, one per destination on tensors and none on memrefs, but got 1}}
  %g = megactx.fused_key_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%q, %q) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !row, !row, !t, !t, !t) -> !t
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
func.func @fused_bias_gradient_c1(%q: !t, %row: !row, %sum: tensor<1x1x4x?x?xf32>) {
  // expected-error@+1 {{expected at least one piece}}
  %g = megactx.fused_bias_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%sum) [] {scale = 1.0 : f32} : (!t, !t, !t, !row, !row, !t, tensor<1x1x4x?x?xf32>) -> tensor<1x1x4x?x?xf32>
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
func.func @fused_bias_gradient_c2(%q: !t, %row: !row, %sum: tensor<1x4x?xf32>) {
  // expected-error@+1 {{expected gradient of a bias to have rank 5, but got 'tensor<1x4x?xf32>'}}
  %g = megactx.fused_bias_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%sum) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !row, !row, !t, tensor<1x4x?xf32>) -> tensor<1x4x?xf32>
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
func.func @fused_bias_gradient_c2(%q: !t, %row: !row, %sum: tensor<1x1x4x?x?xf16>) {
  // expected-error@+1 {{expected gradient of a bias of element type f32, but got}}
  %g = megactx.fused_bias_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%sum) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !row, !row, !t, tensor<1x1x4x?x?xf16>) -> tensor<1x1x4x?x?xf16>
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
func.func @fused_bias_gradient_c2(%q: !t, %row: !row, %sum: tensor<1x1x3x?x?xf32>) {
  // expected-error@+1 {{expected a gradient of a bias with dims of 1 or those of scores after its parts, but got 'tensor<1x1x3x?x?xf32>'}}
  %g = megactx.fused_bias_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%sum) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !row, !row, !t, tensor<1x1x3x?x?xf32>) -> tensor<1x1x3x?x?xf32>
  return
}

// -----

!t = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>
func.func @fused_bias_gradient_c2(%q: !t, %row: !row, %sum: tensor<0x1x4x?xf32>) {
  // expected-error@+1 {{expected at least one part, but got 'tensor<0x1x4x?xf32>'}}
  %g = megactx.fused_bias_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%sum) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !row, !row, !t, tensor<0x1x4x?xf32>) -> tensor<0x1x4x?xf32>
  return
}

// -----

!t = tensor<1x4x5x8xf32>
!row = tensor<1x4x5xf32>
func.func @fused_bias_gradient_c2(%q: !t, %row: !row, %sum: tensor<2x1x4x8xf32>) {
  // expected-error@+1 {{expected an element for each of 9 distances, but got 'tensor<2x1x4x8xf32>'}}
  %g = megactx.fused_bias_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%sum) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !row, !row, !t, tensor<2x1x4x8xf32>) -> tensor<2x1x4x8xf32>
  return
}

// -----

func.func @diagonal_sums_c1(%m: tensor<1x4x5x6xf32>) {
  // expected-error@+1 {{expected a result of 10 diagonals, but got 'tensor<1x4x11xf32>'}}
  %0 = megactx.diagonal_sums %m : tensor<1x4x5x6xf32> to tensor<1x4x11xf32>
  return
}

// -----

func.func @diagonal_sums_of_other_heads(%m: tensor<1x4x5x6xf32>) {
  // expected-error@+1 {{expected result dim 1 to equal matrix dim 1, but got 3 vs 4}}
  %0 = megactx.diagonal_sums %m : tensor<1x4x5x6xf32> to tensor<1x3x10xf32>
  return
}
