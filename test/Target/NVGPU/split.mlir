// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a --canonicalize --cse | FileCheck %s

!q1 = memref<8x32x1x128xbf16>
!k = memref<8x8x?x128xbf16>
!l1 = memref<8x32x1xf32>

// Four heads of one row are rows of one block. 660 blocks fill the machine, and
// these are 64: ten parts, of 256 keys or more.
// CHECK-LABEL: func @one_query
// CHECK-SAME: , %[[K:[a-z0-9]+]]: memref<8x8x?x128xbf16>
// CHECK-DAG: %[[ONE:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[TEN:.*]] = arith.constant 10 : index
// CHECK-DAG: %[[LEAST:.*]] = arith.constant 256 : index
// CHECK: memref.dim %[[K]]
// CHECK: %[[MOST:.*]] = arith.divui %{{.*}}, %[[LEAST]]
// CHECK: %[[FEWER:.*]] = arith.minsi %[[MOST]], %[[TEN]]
// CHECK: %[[PARTS:.*]] = arith.maxsi %[[FEWER]], %[[ONE]]
// CHECK: %[[SPLIT:.*]] = arith.cmpi sgt, %[[PARTS]], %[[ONE]]
// CHECK: %[[OUT:.*]] = gpu.alloc ({{.*}}) : memref<?x?x?x128xf32>
// CHECK: %[[STATS:.*]] = gpu.alloc ({{.*}}) : memref<?x?x?x2xf32>
// CHECK: gpu.launch_func @mctx_attention_module_0::@mctx_attention_0 blocks in (%[[ONE]], %c8, %{{.*}}) threads in (%c32,
// CHECK-SAME: %[[PARTS]] : index, %[[OUT]] : memref<?x?x?x128xf32>, %[[STATS]] : memref<?x?x?x2xf32>)
// CHECK: %[[ROWS:.*]] = arith.select %[[SPLIT]], %[[ONE]], %c0
// CHECK: gpu.launch_func @mctx_attention_module_0::@mctx_merge_0 blocks in (%[[ROWS]], %c32, %c8) threads in (%c128,
// CHECK-SAME: %[[PARTS]] : index, %[[OUT]] : memref<?x?x?x128xf32>, %[[STATS]] : memref<?x?x?x2xf32>,
// CHECK: gpu.dealloc %[[OUT]]
// CHECK: gpu.dealloc %[[STATS]]
func.func @one_query(%q: !q1, %k: !k, %v: !k, %o: !q1, %lse: !l1) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32} : (!q1, !k, !k, !q1, !l1) -> ()
  return
}

!q = memref<8x32x?x128xbf16>
!l = memref<8x32x?xf32>

// Which of two kernels there are few rows for is known at run time.
// CHECK-LABEL: func @any_queries
// CHECK: %[[FEW:.*]] = arith.cmpi sle, %{{.*}}, %c16
// CHECK: scf.if %[[FEW]] {
// CHECK: gpu.launch_func @mctx_attention_module_2::@mctx_attention_2
// CHECK: gpu.launch_func @mctx_attention_module_2::@mctx_merge_2
// CHECK: } else {
// CHECK: gpu.launch_func @mctx_attention_module_1::@mctx_attention_1
// CHECK: gpu.launch_func @mctx_attention_module_1::@mctx_merge_1
// CHECK: }
func.func @any_queries(%q: !q, %k: !k, %v: !k, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !k, !k, !q, !l) -> ()
  return
}

// Of the window only, however long the keys.
// CHECK-LABEL: func @window
// CHECK: %[[BEGIN:.*]] = arith.addi %{{.*}}, %c-511 : index
// CHECK: scf.if
// CHECK: arith.divui %{{.*}}, %c256
// CHECK: gpu.launch_func
func.func @window(%q: !q, %k: !k, %v: !k, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!q, !k, !k, !q, !l) -> ()
  return
}

!many = memref<8x32x4096x128xbf16>
!lmany = memref<8x32x4096xf32>

// Enough blocks whatever the keys.
// CHECK-LABEL: func @many_queries
// CHECK-NOT: gpu.alloc
// CHECK: gpu.launch_func @mctx_attention_module_5::@mctx_attention_5
// CHECK-NOT: gpu.launch_func
// CHECK: return
func.func @many_queries(%q: !many, %k: !k, %v: !k, %o: !many, %lse: !lmany) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!many, !k, !k, !many, !lmany) -> ()
  return
}

// Heads that see different keys share no block.
// CHECK-LABEL: func @per_head
// CHECK: gpu.launch_func @mctx_attention_module_6::@mctx_attention_6
func.func @per_head(%q: !q1, %k: !k, %v: !k, %o: !q1, %lse: !l1) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<heads<(h mod 2) == 0>, hi<p + 1>>] {scale = 0.125 : f32} : (!q1, !k, !k, !q1, !l1) -> ()
  return
}

// Classes of a view are short long before the sequence is.
// CHECK-LABEL: func @any_classes
// CHECK: %[[FEW:.*]] = arith.cmpi sle, %[[ROWS:.*]], %c16
// CHECK: scf.if %[[FEW]] {
// CHECK: gpu.launch_func @mctx_attention_module_[[#ANY:]]::
// CHECK: gpu.launch_func @mctx_attention_module_[[#ANY]]::@mctx_merge_
// CHECK: } else {
// CHECK: %[[SHORT:.*]] = arith.cmpi sle, %[[ROWS]], %c32
// CHECK: scf.if %[[SHORT]] {
// CHECK: gpu.launch_func @mctx_attention_module_[[#ANY - 1]]::
// CHECK: } else {
// CHECK: gpu.launch_func @mctx_attention_module_[[#ANY - 2]]::
// CHECK: }
func.func @any_classes(%q: !q, %k: !k, %v: !k, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<2, [0]: [0], [1]: [1]>>] {scale = 0.125 : f32} : (!q, !k, !k, !q, !l) -> ()
  return
}

// CHECK: gpu.func @mctx_attention_0
// CHECK-SAME: #nvx.schedule<rows = 16, columns = 32, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 5, grouped = true, split = 660>
// A part's results are f32, and not merged with anything.
// CHECK: scf.if
// CHECK: vector.store %{{.*}} : memref<?x?x?x128xf32>, vector<2xf32>
// CHECK: } else {
// CHECK: vector.store %{{.*}} : memref<?x?x?x128xbf16, strided<[?, ?, ?, 1], offset: ?>>, vector<8xbf16>
// CHECK: gpu.func @mctx_merge_0
// CHECK: nvx.max
// CHECK-COUNT-5: gpu.shuffle
// CHECK: gpu.barrier
// CHECK: vector.store %{{.*}} : memref<?x?x?x128xbf16, strided<[?, ?, ?, 1], offset: ?>>, vector<2xbf16>
// CHECK: gpu.func @mctx_attention_1
// CHECK-SAME: #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, split = 132, loads = tma, producer = true, persistent = true>
// CHECK: gpu.func @mctx_attention_2
// CHECK-SAME: #nvx.schedule<rows = 16, columns = 32, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 5, grouped = true, split = 660>
// CHECK: gpu.func @mctx_attention_5
// CHECK-SAME: product = wgmma, held = false, blocks = 1, loads = tma, producer = true, persistent = true>
// CHECK: gpu.func @mctx_attention_6
// CHECK-SAME: #nvx.schedule<rows = 16, columns = 32, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 5, split = 660>
