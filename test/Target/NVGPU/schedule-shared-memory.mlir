// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_80 | FileCheck %s --check-prefixes=CHECK,SM80
// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_86 | FileCheck %s --check-prefixes=CHECK,SM86
// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a | FileCheck %s --check-prefixes=CHECK,SM90

// Blocks are as large as the architecture's shared memory lets them be.

!q = memref<?x?x?x256xf32>
!l = memref<?x?x?xf32>
// CHECK: gpu.func @mctx_attention_0
// SM80-SAME: #nvx.schedule<rows = 64, columns = 16, warps = 4, stages = 2, product = fma, held = false, blocks = 1, split = 108>
// SM86-SAME: #nvx.schedule<rows = 32, columns = 16, warps = 2, stages = 2, product = fma, held = false, blocks = 1, split = 84>
// SM90-SAME: #nvx.schedule<rows = 64, columns = 16, warps = 4, stages = 2, product = fma, held = false, blocks = 1, split = 132>
func.func @f32_head_of_256(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

!b = memref<?x?x?x128xbf16>
// CHECK: gpu.func @mctx_attention_2
// SM80-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 1, split = 108>
// SM86-SAME: #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 1, split = 84>
// SM90-SAME: #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, split = 132, loads = tma, producer = true, persistent = true>
func.func @bf16_head_of_128(%q: !b, %k: !b, %v: !b, %o: !b, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!b, !b, !b, !b, !l) -> ()
  return
}
