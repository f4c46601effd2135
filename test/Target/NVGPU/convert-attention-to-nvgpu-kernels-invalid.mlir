// RUN: megactx-opt %s -split-input-file -verify-diagnostics --megactx-convert-attention-to-nvgpu-kernels

!q = memref<?x?x?x20xf16>
!l = memref<?x?x?xf32>
func.func @head_dim_not_of_eights(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected head dims of 8 to 256 that are multiples of 8}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x264xbf16>
!l = memref<?x?x?xf32>
func.func @head_dim_too_large(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected head dims of 8 to 256 that are multiples of 8, but got 264 and 264}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x136xbf16>
!s = memref<?x?x?x136xf32>
!l = memref<?x?x?xf32>
func.func @head_dim_of_gradients_too_large(%q: !q, %k: !q, %v: !q, %lse: !l, %dk: !s, %dv: !s) {
  // expected-error@+1 {{expected head dims of 8 to 128 that are multiples of 8, but got 136 and 136}}
  megactx.fused_key_gradient %q, %k, %v lse(%lse) delta(%lse) dout(%q) outs(%dk, %dv)
      [#megactx.piece<all>] {scale = 0.125 : f32} : (!q, !q, !q, !l, !l, !q, !s, !s) -> ()
  return
}
