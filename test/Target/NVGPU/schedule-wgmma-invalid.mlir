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
