// RUN: megactx-opt %s --split-input-file --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a -canonicalize | FileCheck %s

// Two of every eight keys, that follow each other: a thread's rows are 64 apart,
// and no table is read for each.

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK: memref.subview %arg1[{{.*}}] [1, 1, 4, 8] [1, 1, 64, 1]
// CHECK-NOT: memref<2xi64>
// CHECK: gpu.return
func.func @columns(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<8, [0-7]: [6-7]>>] {scale = 0.125 : f32}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// -----

// Two that do not: a table says the first of them.

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK: memref.subview %arg1[{{.*}}] [1, 1, 4, 8] [1, 1, 64, 1]
// CHECK: memref.load {{.*}} : memref<2xi64>
func.func @columns_apart(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<8, [0-7]: [1, 6]>>] {scale = 0.125 : f32}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// -----

// Three do not divide the rows that the block's threads copy at once.

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK-NOT: memref.subview %arg1
// CHECK: gpu.return
func.func @three_columns(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<8, [0-7]: [5-7]>>] {scale = 0.125 : f32}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// -----

// Blocks of one class follow each other: the class is the quotient.

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK: %[[BLOCK:.*]] = gpu.block_id x
// CHECK: %[[NUMBER:.*]] = arith.index_cast %[[BLOCK]] : index to i32
// CHECK: %[[CLASS:.*]] = arith.divui %[[NUMBER]], %{{.*}} : i32
// CHECK: arith.index_castui %[[CLASS]] : i32 to index
func.func @strided(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<3, [0]: [0], [1]: [1], [2]: [2]>>] {scale = 0.125 : f32}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// -----

// From one piece to the next a kernel computes its rows anew: the first of the
// block, the lane and the head of the keys.

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK-COUNT-6: nvx.recompute
// CHECK-NOT: nvx.recompute
// CHECK: gpu.return
func.func @two_pieces(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p - 511, 4>>, #megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// -----

// With a warp that only loads, those of a piece are boxes of 8 rows, two panels
// of each; and so are those of the other piece. A tile begins with a box.

#producer = #nvx.schedule<rows = 64, columns = 32, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, loads = tma, producer = true>

// CHECK-LABEL: func @fixed
// CHECK: nvx.encode_tensor_map %{{.*}} box 64
// CHECK-COUNT-2: nvx.encode_tensor_map %{{.*}} box 8 :
// CHECK: megactx.schedule_class = "bf16 128 long gathered runs"
// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK-SAME: [[QUERIES:%[^ ]*]]: !nvx.tensor_map, [[KEYS:%[^ ]*]]: !nvx.tensor_map, %{{[^ ]*}}: !nvx.tensor_map)
// CHECK-NOT: async.copy
// CHECK: nvvm.setmaxregister decrease 56
// CHECK: nvx.load_box [[QUERIES]]
// CHECK: nvvm.mbarrier.expect_tx %{{.*}}, %c8192_i32
// CHECK-COUNT-8: nvx.load_box [[KEYS]]
// CHECK-NOT: nvx.load_box
// CHECK: nvvm.mbarrier.arrive
// CHECK: gpu.return
func.func @fixed(%q: memref<?x?x?x128xbf16>, %k: memref<?x?x?x128xbf16>, %v: memref<?x?x?x128xbf16>, %o: memref<?x?x?x128xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<(p floordiv 64) * 64>, digits<64, [0-63]: [56-63]>>, #megactx.piece<lo<(p floordiv 64) * 64>, hi<p + 1>>]
      {scale = 0.125 : f32, nvx.schedule = #producer}
      : (memref<?x?x?x128xbf16>, memref<?x?x?x128xbf16>, memref<?x?x?x128xbf16>, memref<?x?x?x128xbf16>, memref<?x?x?xf32>) -> ()
  return
}
