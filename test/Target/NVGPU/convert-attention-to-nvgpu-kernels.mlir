// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels | FileCheck %s

!q = memref<?x?x?x128xbf16>
!l = memref<?x?x?xf32>

// CHECK-LABEL: func @two_ops_of_one_shape_share_a_kernel
// CHECK: gpu.launch_func @mctx_attention_module_1::@mctx_attention_1
// CHECK: gpu.launch_func @mctx_attention_module_0::@mctx_attention_0
// CHECK: gpu.launch_func @mctx_attention_module_1::@mctx_attention_1
// CHECK: gpu.launch_func @mctx_attention_module_0::@mctx_attention_0
// CHECK: return
// CHECK: gpu.module @mctx_attention_module_0
// CHECK: gpu.func @mctx_attention_0
// CHECK: nvx.shared_memory : memref<87040xi8
// The queries' copy, then a loop over tiles that masks only where it must.
// CHECK: nvgpu.device_async_copy
// CHECK: nvgpu.ldmatrix
// CHECK: scf.for
// CHECK: nvgpu.device_async_wait
// CHECK: gpu.barrier
// CHECK: nvx.mma_sync
// CHECK: scf.if
// CHECK: arith.select
// CHECK: nvx.exp2
// CHECK: nvx.mma_sync
// CHECK: scf.yield
// CHECK: nvx.log2
func.func @two_ops_of_one_shape_share_a_kernel(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32}
      : (!q, !q, !q, !q, !l) -> ()
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// What a full tile needs too comes before the choice, the masks after it.
// CHECK: gpu.func @mctx_attention_2
// CHECK: nvx.mma_sync
// CHECK: nvx.exp2
// CHECK: nvvm.rcp.approx.ftz.f
// CHECK: memref.load %{{.*}} : memref<?x?x?x?xf32
// CHECK: scf.if
// CHECK: arith.select
func.func @softcap_and_bias(%q: !q, %k: !q, %v: !q, %bias: memref<?x?x?x?xf32>, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v bias(%bias) outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32, softcap = 30.0 : f32}
      : (!q, !q, !q, memref<?x?x?x?xf32>, !q, !l) -> ()
  return
}

// A test is a loop that sets a bit per element, not a copy per element; before
// there are scores, which take most registers.
// CHECK: gpu.func @mctx_attention_4
// CHECK: scf.for
// CHECK: scf.for
// CHECK-COUNT-2: arith.floordivsi %{{.*}}, %c5000
// CHECK: arith.shli
// CHECK: scf.yield
// CHECK-NOT: arith.floordivsi %{{.*}}, %c5000
// CHECK: nvx.mma_sync
// CHECK-NOT: arith.floordivsi %{{.*}}, %c5000
// CHECK: nvx.exp2
func.func @test_per_element(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, test<(p mod 5000) == (k mod 5000)>>] {scale = 0.125 : f32}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

!f = memref<?x?x?x64xf32>

// f32 keeps its precision: no mma.sync.
// CHECK: gpu.func @mctx_attention_6
// CHECK-NOT: nvx.mma_sync
// CHECK: nvx.log2
func.func @f32(%q: !f, %k: !f, %v: !f, %o: !f, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!f, !f, !f, !f, !l) -> ()
  return
}

// Rows at positions of their own: the least and the greatest of a block's by
// all lanes of a warp, then their keys by bisection.
// CHECK: gpu.func @mctx_attention_8
// CHECK: gpu.shuffle xor
// CHECK: arith.minsi
// CHECK: scf.while
// CHECK: nvx.mma_sync
func.func @positions(%q: !q, %k: !q, %v: !q, %p: memref<?x?xindex>, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v query_positions(%p) key_positions(%p) outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32}
      : (!q, !q, !q, memref<?x?xindex>, memref<?x?xindex>, !q, !l) -> ()
  return
}
