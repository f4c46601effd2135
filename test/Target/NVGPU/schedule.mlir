// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels='schedule="#nvx.schedule<rows = 128, columns = 16, warps = 8, stages = 3, product = mma_sync, held = true, blocks = 1>"' | FileCheck %s --check-prefix=OPTION

!q = memref<?x?x?x128xbf16>
!l = memref<?x?x?xf32>
func.func @head_of_128(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // CHECK: scf.if
  // CHECK: gpu.launch_func @mctx_attention_module_1::
  // CHECK: else
  // CHECK: gpu.launch_func @mctx_attention_module_0::
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

!large = memref<?x?x?x256xf16>
func.func @head_of_256(%q: !large, %k: !large, %v: !large, %o: !large, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!large, !large, !large, !large, !l) -> ()
  return
}

!one = memref<1x8x1x128xbf16>
!onel = memref<1x8x1xf32>
func.func @one_query(%q: !one, %k: !q, %v: !q, %o: !one, %lse: !onel) {
  // CHECK: gpu.launch_func @mctx_attention_module_4::{{.*}} threads in (%c32
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32} : (!one, !q, !q, !one, !onel) -> ()
  return
}

!few = memref<1x8x96x128xbf16>
!fewl = memref<1x8x96xf32>
func.func @classes_of_32(%q: !few, %k: !q, %v: !q, %o: !few, %lse: !fewl) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<3, [0]: [0], [1]: [1], [2]: [2]>>] {scale = 0.125 : f32}
      : (!few, !q, !q, !few, !fewl) -> ()
  return
}

// What the operation says comes before the option and the rule.
func.func @chosen(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32,
        nvx.schedule = #nvx.schedule<rows = 32, columns = 48, warps = 2, stages = 4, product = mma_sync, held = false, blocks = 1>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// Where the number of rows is dynamic, a kernel for few rows comes after that
// for others.
// CHECK: gpu.func @mctx_attention_0
// CHECK-SAME: nvvm.minctasm = 1
// CHECK-SAME: nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 1, split = 108>
// CHECK: gpu.func @mctx_attention_1
// CHECK-SAME: #nvx.schedule<rows = 16, columns = 32, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 4, split = 432>
// CHECK: gpu.func @mctx_attention_2
// CHECK-SAME: #nvx.schedule<rows = 64, columns = 32, warps = 4, stages = 2, product = mma_sync, held = false, blocks = 1, split = 108>
// CHECK: gpu.func @mctx_attention_3
// CHECK-SAME: #nvx.schedule<rows = 16, columns = 16, warps = 1, stages = 2, product = mma_sync, held = false, blocks = 3, split = 324>
// CHECK: gpu.func @mctx_attention_4
// CHECK-SAME: #nvx.schedule<rows = 16, columns = 32, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 4, split = 432>
// CHECK: gpu.func @mctx_attention_5
// CHECK-SAME: #nvx.schedule<rows = 32, columns = 64, warps = 2, stages = 2, product = mma_sync, held = true, blocks = 2, split = 216>
// CHECK: gpu.func @mctx_attention_6
// CHECK-SAME: #nvx.schedule<rows = 32, columns = 48, warps = 2, stages = 4, product = mma_sync, held = false, blocks = 1>
// CHECK: nvx.shared_memory : memref<113152xi8
// CHECK: scf.for
// CHECK: nvgpu.device_async_wait {{.*}}numGroups = 2

// OPTION: gpu.func @mctx_attention_0
// OPTION-SAME: #nvx.schedule<rows = 128, columns = 16, warps = 8, stages = 3, product = mma_sync, held = true, blocks = 1>
// OPTION: gpu.func @mctx_attention_4
// OPTION-SAME: #nvx.schedule<rows = 32, columns = 48, warps = 2, stages = 4, product = mma_sync, held = false, blocks = 1>
