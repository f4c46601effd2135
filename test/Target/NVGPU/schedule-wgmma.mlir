// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a | FileCheck %s

// Dynamic numbers of rows have two kernels, the first for more than a few, and
// several classes of rows a third between them.

!narrow = memref<?x?x?x32xbf16>
!q = memref<?x?x?x64xbf16>
!wide = memref<?x?x?x128xbf16>
!widest = memref<?x?x?x256xbf16>
!l = memref<?x?x?xf32>
// CHECK: gpu.func @mctx_attention_0
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 4, split = 528>
func.func @narrow_rows(%q: !narrow, %k: !narrow, %v: !narrow, %o: !narrow, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!narrow, !narrow, !narrow, !narrow, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_2
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 112, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264, loads = tma>
func.func @long_rows(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// Two parts of keys would be more than a row sees.
// CHECK: gpu.func @mctx_attention_4
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 4, loads = tma>
func.func @window(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_6
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 96, warps = 4, stages = 2, product = wgmma, held = false, blocks = 3, split = 396, loads = tma>
func.func @large_window(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 2047>, hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_8
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 96, warps = 4, stages = 2, product = wgmma, held = false, blocks = 3, split = 396, loads = tma>
func.func @large_block(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<((p floordiv 4096) * 4096)>, hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_10
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 4, split = 528>
func.func @gathered(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<8, [0-7]: [6-7]>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_12
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 3, split = 396, loads = tma>
func.func @bias(%q: !q, %k: !q, %v: !q, %b: memref<?x?x?x?xf32>, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v bias(%b) outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, memref<?x?x?x?xf32>, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_14
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, split = 132, loads = tma, producer = true, persistent = true>
func.func @long_wide_rows(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_16
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 4, product = wgmma, held = true, blocks = 1, loads = tma, producer = true, persistent = true>
func.func @wide_window(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// Units that are alike are given out by the device where they are long.
// CHECK: gpu.func @mctx_attention_18
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true, persistent = true>
func.func @large_wide_window(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 1023>, hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_20
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, split = 132, loads = tma, producer = true>
func.func @largest_wide_window(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 4095>, hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_22
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, split = 132, loads = tma, producer = true, persistent = true>
func.func @wide_bias(%q: !wide, %k: !wide, %v: !wide, %b: memref<?x?x?x?xf32>, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v bias(%b) outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, memref<?x?x?x?xf32>, !wide, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_24
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 80, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264, loads = tma>
func.func @wide_bias_per_key(%q: !wide, %k: !wide, %v: !wide, %b: memref<?x?x1x?xf32>, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v bias(%b) outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, memref<?x?x1x?xf32>, !wide, !l) -> ()
  return
}

// Rows of a class are fewer by the period.
// CHECK: gpu.func @mctx_attention_26
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 2, product = wgmma, held = false, blocks = 3, split = 396>
// CHECK: gpu.func @mctx_attention_27
// CHECK-SAME: #nvx.schedule<rows = 32, columns = 64, warps = 2, stages = 2, product = mma_sync,
func.func @views(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<2, [0]: [0], [1]: [1]>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_29
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 48, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, split = 132, loads = tma>
func.func @widest_rows(%q: !widest, %k: !widest, %v: !widest, %o: !widest, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!widest, !widest, !widest, !widest, !l) -> ()
  return
}

!q32 = memref<1x8x32x64xbf16>
!l32 = memref<1x8x32xf32>
// CHECK: gpu.func @mctx_attention_31
// CHECK-SAME: #nvx.schedule<rows = 32, columns = 64, warps = 2, stages = 2, product = mma_sync, held = true, blocks = 4, split = 528>
func.func @too_few_for_a_warpgroup(%q: !q32, %k: !q, %v: !q, %o: !q32, %lse: !l32) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q32, !q, !q, !q32, !l32) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_32
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264, loads = tma>
func.func @test_per_element(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<test<(p mod 5000) == (k mod 5000)>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_34
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264, loads = tma>
func.func @wide_test_per_element(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<test<(p mod 5000) == (k mod 5000)>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// Sinks beside a window are no long rows; two pieces have no producer.
// CHECK: gpu.func @mctx_attention_36
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 4, loads = tma>
func.func @sinks(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p - 511, 4>>, #megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_38
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 2, product = wgmma, held = false, blocks = 3, loads = tma>
func.func @wide_sinks(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p - 511, 4>>, #megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// Units of a dense attention are alike.
// CHECK: gpu.func @mctx_attention_40
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, split = 132, loads = tma, producer = true>
func.func @wide_dense(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_42
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, split = 132, loads = tma, producer = true>
func.func @wide_window_of_a_head(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<heads<(h mod 8) == 3>, lo<p - 4095>, hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// Few rows of many heads, or rows of one warpgroup, have no producer.
!q48 = memref<?x48x?x128xbf16>
!k1 = memref<?x1x?x128xbf16>
// CHECK: gpu.func @mctx_attention_44
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 80, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, grouped = true, split = 264, loads = tma>
func.func @many_heads_of_a_key_head(%q: !q48, %k: !k1, %v: !k1, %o: !q48, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q48, !k1, !k1, !q48, !l) -> ()
  return
}

!q64 = memref<?x?x64x128xbf16>
// CHECK: gpu.func @mctx_attention_45
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 80, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264, loads = tma>
func.func @rows_of_a_warpgroup(%q: !q64, %k: !wide, %v: !wide, %o: !q64, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q64, !wide, !wide, !q64, !l) -> ()
  return
}

// A piece of one head, whichever that is, has long rows.
// CHECK: gpu.func @mctx_attention_46
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 112, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264, loads = tma>
func.func @long_rows_of_a_head(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<heads<h == 20>, hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_48
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 3, loads = tma>
func.func @two_windows_and_sinks(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p - 511, 4>>, #megactx.piece<lo<p - 511>, hi<p + 1>>, #megactx.piece<lo<p + 100>, hi<p + 200>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_50
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 3, split = 396, loads = tma>
func.func @window_and_test_of_blocks(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>, #megactx.piece<hi<p - 511>, test<((p floordiv 64) mod 5) == ((k floordiv 64) mod 5)>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// Columns in long rows are taken by a warp that only loads, where they follow
// each other by a multiple of 8, and by all threads else.
// CHECK: gpu.func @mctx_attention_52
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 4, product = wgmma, held = true, blocks = 1, split = 132, loads = tma, producer = true, persistent = true>
func.func @wide_columns(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<256, [0-255]: [248-255]>>, #megactx.piece<lo<(p floordiv 256) * 256>, hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_54
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 4, product = wgmma, held = true, blocks = 1, split = 132, loads = tma, producer = true, persistent = true>
func.func @wide_columns_alone(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<256, [0-255]: [192-255]>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_56
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, split = 264>
func.func @wide_columns_apart(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<8, [0-7]: [6-7]>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_58
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, loads = tma, producer = true, persistent = true>
func.func @small_wide_window(%q: !wide, %k: !wide, %v: !wide, %o: !wide, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 127>, hi<p + 1>>] {scale = 0.125 : f32} : (!wide, !wide, !wide, !wide, !l) -> ()
  return
}
