// RUN: megactx-opt %s -split-input-file -verify-diagnostics --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a

!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @not_whole_warpgroups(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with a multiple of 4 warps and at most 256 columns for wgmma, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 96, columns = 64, warps = 6, stages = 2, product = wgmma, held = false, blocks = 1>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @product(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with product = mma_sync or wgmma for 'f16' on sm_90a, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = fma, held = false, blocks = 1>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @boxes_without_wgmma(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with product = wgmma for loads = tma, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = false, blocks = 1, loads = tma>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

#s = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true>
!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @producer_of_strides(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule without a producer for several classes of rows, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<digits<3, [0]: [0], [1]: [1], [2]: [2]>>] {scale = 0.125 : f32, nvx.schedule = #s}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

#s = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true>
!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @producer_of_columns(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule without a producer for a piece whose keys follow each other by 1, not by a multiple of 8, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<digits<2, [0, 1]: [1]>>] {scale = 0.125 : f32, nvx.schedule = #s}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

#s = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true>
!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @producer_of_bounded_columns(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule without a producer for a piece whose keys do not follow each other and have a lower bound, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<lo<p - 100>, digits<32, [0-31]: [0-7]>>] {scale = 0.125 : f32, nvx.schedule = #s}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

#s = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true>
!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @producer_with_test(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule without a producer for a piece with a test per element, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<test<(p mod 5000) == (k mod 5000)>>] {scale = 0.125 : f32, nvx.schedule = #s}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

#s = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true>
!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @producer_with_positions(%q: !q, %k: !q, %v: !q, %p: memref<?x?xindex>, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule without a producer for rows at positions of their own, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v key_positions(%p) outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32, nvx.schedule = #s}
      : (!q, !q, !q, memref<?x?xindex>, !q, !l) -> ()
  return
}

// -----

#s = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 5, loads = tma, producer = true>
!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @producer_without_registers(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with fewer blocks beside a producer, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32, nvx.schedule = #s} : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

#s = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true>
!q = memref<?x?x?x64xf32>
!l = memref<?x?x?xf32>
func.func @producer_of_f32(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with product = fma for 'f32' on sm_90a, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32, nvx.schedule = #s} : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!s = memref<?x?x?x64xf32>
!l = memref<?x?x?xf32>
func.func @gradient(%q: !q, %k: !q, %v: !q, %lse: !l, %s: !s) {
  // expected-error@+1 {{expected a schedule of gradients without wgmma, held, grouped, split and producer, but got #nvx.schedule<}}
  megactx.fused_query_gradient %q, %k, %v lse(%lse) delta(%lse) dout(%q) outs(%s) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 1>}
      : (!q, !q, !q, !l, !l, !q, !s) -> ()
  return
}
