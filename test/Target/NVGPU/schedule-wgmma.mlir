// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a | FileCheck %s

// Dynamic numbers of rows have two kernels, the first for more than a few.

!q = memref<?x?x?x64xbf16>
!wide = memref<?x?x?x128xbf16>
!l = memref<?x?x?xf32>
// CHECK: gpu.func @mctx_attention_0
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 4, split = 528>
func.func @long_rows(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_2
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 4, split = 528>
func.func @window(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_4
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 80, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264>
func.func @long_wide_rows(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// Rows of a class are fewer by the period.
// CHECK: gpu.func @mctx_attention_6
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 2, product = wgmma, held = false, blocks = 3, split = 396>
func.func @views(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<2, [0]: [0], [1]: [1]>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

!q32 = memref<1x8x32x64xbf16>
!l32 = memref<1x8x32xf32>
// CHECK: gpu.func @mctx_attention_8
// CHECK-SAME: #nvx.schedule<rows = 32, columns = 64, warps = 2, stages = 2, product = mma_sync, held = true, blocks = 4, split = 528>
func.func @too_few_for_a_warpgroup(%q: !q32, %k: !q, %v: !q, %o: !q32, %lse: !l32) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q32, !q, !q, !q32, !l32) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_9
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264>
func.func @test_per_element(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<test<(p mod 5000) == (k mod 5000)>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_11
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264>
func.func @wide_test_per_element(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<test<(p mod 5000) == (k mod 5000)>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}
