// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels | FileCheck %s

!q = memref<?x?x?x128xbf16>
!l = memref<?x?x?xf32>

// CHECK-LABEL: func @two_ops_of_one_shape_share_a_kernel
// CHECK-COUNT-2: gpu.launch_func @mctx_attention_module_0::@mctx_attention_0
// CHECK-NOT: gpu.launch_func
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
