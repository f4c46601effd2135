// RUN: megactx-opt %s -split-input-file --megactx-convert-attention-to-nvgpu-kernels="arch=sm_80 schedule=\"#nvx.schedule<rows = 64, columns = 16, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 2>\"" | FileCheck %s

// A tile at one end of the keys that rows see is masked there alone: that of
// the first ones has keys before some row's, and that of the last behind some.

!t = memref<?x?x?x40xbf16>
// CHECK-LABEL: gpu.func @mctx_attention_0
// Warps know their number, and which tiles they read, to be theirs alone.
// CHECK: gpu.shuffle {{ *}}idx
// CHECK-COUNT-4: gpu.shuffle {{ *}}idx
// CHECK: scf.for
// CHECK: nvx.mma_sync
// CHECK: scf.if
// CHECK: arith.cmpi sge, {{.*}} : vector<2x2xi32>
// CHECK-NOT: arith.cmpi slt, {{.*}} : vector<2x2xi32>
// CHECK: scf.if
// CHECK-NOT: arith.cmpi sge, {{.*}} : vector<2x2xi32>
// CHECK: arith.cmpi slt, {{.*}} : vector<2x2xi32>
// CHECK: nvx.exp2
// CHECK: nvx.log2
// Of each four times eight columns a lane stores eight, of those that are left
// two of each.
// CHECK-COUNT-4: gpu.shuffle {{ *}}xor {{.*}} : i32
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : {{.*}}, vector<8xbf16>
// CHECK-NOT: gpu.shuffle
// CHECK: vector.store {{.*}} {alignment = 4 : i64} : {{.*}}, vector<2xbf16>
// CHECK-COUNT-4: gpu.shuffle {{ *}}xor {{.*}} : i32
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : {{.*}}, vector<8xbf16>
// CHECK-NOT: gpu.shuffle
// CHECK: vector.store {{.*}} {alignment = 4 : i64} : {{.*}}, vector<2xbf16>
func.func @window(%q: !t, %k: !t, %v: !t, %o: !t, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!t, !t, !t, !t, memref<?x?x?xf32>) -> ()
  return
}

// -----

// Without a lower bound there is no mask of one.

!t = memref<?x?x?x64xbf16>
// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK-NOT: arith.cmpi sge, {{.*}} : vector<2x2xi32>
// CHECK: arith.cmpi slt, {{.*}} : vector<2x2xi32>
// CHECK: gpu.return
func.func @causal(%q: !t, %k: !t, %v: !t, %o: !t, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!t, !t, !t, !t, memref<?x?x?xf32>) -> ()
  return
}
