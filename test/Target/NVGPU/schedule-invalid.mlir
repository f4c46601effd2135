// RUN: megactx-opt %s -split-input-file -verify-diagnostics --megactx-convert-attention-to-nvgpu-kernels
// RUN: not megactx-opt %S/schedule-shared-memory.mlir --megactx-convert-attention-to-nvgpu-kernels=arch=sm_75 2>&1 | FileCheck %s --check-prefix=ARCH
// RUN: not megactx-opt %S/schedule-shared-memory.mlir --megactx-convert-attention-to-nvgpu-kernels='schedule="#nvx.schedule<rows = 64>"' 2>&1 | FileCheck %s --check-prefix=OPTION

// ARCH: error: expected a known architecture of sm_80 or later, but got 'sm_75'
// OPTION: error: expected a valid #nvx.schedule, but got '#nvx.schedule<rows = 64>': struct is missing required parameter

!q = memref<?x?x?x64xf32>
!l = memref<?x?x?xf32>
func.func @product(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with product = fma for 'f32' on sm_80, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 1>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @rows_of_a_warp(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with 16 rows a warp, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 128, columns = 64, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 1>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @columns_of_a_test(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with at most 64 columns for a piece with a test per element}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<test<(p mod 5000) == (k mod 5000)>>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 128, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 1>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x256xf16>
!l = memref<?x?x?xf32>
func.func @shared_memory(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected at most 166912 bytes of shared memory on sm_80, but #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 4, product = mma_sync, held = false, blocks = 1> takes 304128}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 4, product = mma_sync, held = false, blocks = 1>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @wgmma_elsewhere(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with product = mma_sync for 'f16' on sm_80, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @group_of_heads_that_differ(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule that is not grouped for pieces that depend on the head, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<heads<(h mod 2) == 0>>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 16, columns = 64, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 1, grouped = true>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!s = memref<?x?x?x64xf32>
!l = memref<?x?x?xf32>
func.func @gradient_with_held_rows(%q: !q, %k: !q, %v: !q, %lse: !l, %s: !s) {
  // expected-error@+1 {{expected a schedule of gradients without wgmma, held, grouped, split and producer, but got #nvx.schedule<}}
  megactx.fused_query_gradient %q, %k, %v lse(%lse) delta(%lse) dout(%q) outs(%s) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 1>}
      : (!q, !q, !q, !l, !l, !q, !s) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!s = memref<?x?x?x64xf32>
!l = memref<?x?x?xf32>
func.func @gradient_of_grouped_heads(%q: !q, %k: !q, %v: !q, %lse: !l, %s: !s) {
  // expected-error@+1 {{expected a schedule of gradients without wgmma, held, grouped, split and producer, but got #nvx.schedule<}}
  megactx.fused_query_gradient %q, %k, %v lse(%lse) delta(%lse) dout(%q) outs(%s) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = false, blocks = 1, grouped = true>}
      : (!q, !q, !q, !l, !l, !q, !s) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!s = memref<?x?x?x64xf32>
!l = memref<?x?x?xf32>
func.func @gradient_of_split_keys(%q: !q, %k: !q, %v: !q, %lse: !l, %s: !s) {
  // expected-error@+1 {{expected a schedule of gradients without wgmma, held, grouped, split and producer, but got #nvx.schedule<}}
  megactx.fused_query_gradient %q, %k, %v lse(%lse) delta(%lse) dout(%q) outs(%s) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = false, blocks = 1, split = 64>}
      : (!q, !q, !q, !l, !l, !q, !s) -> ()
  return
}

// -----

!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @blocks_without_shared_memory(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with fewer blocks, for a multiprocessor of sm_80 has no shared memory for so many, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 5>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x16xf16>
!l = memref<?x?x?xf32>
func.func @blocks_without_threads(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with fewer blocks, for a multiprocessor of sm_80 has 2048 threads, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 256, columns = 16, warps = 16, stages = 2, product = mma_sync, held = true, blocks = 5>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// -----

!q = memref<?x?x?x16xf16>
!l = memref<?x?x?xf32>
func.func @blocks_without_registers(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected a schedule with fewer blocks, for a multiprocessor of sm_80 has 32 registers for a thread of so many, and its sums alone take 40, but got #nvx.schedule<}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 256, columns = 64, warps = 16, stages = 2, product = mma_sync, held = true, blocks = 4>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}
