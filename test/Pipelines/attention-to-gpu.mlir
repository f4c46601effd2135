// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline | FileCheck %s

!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>

// No call of a library that PTX would leave unresolved.
// CHECK-LABEL: func @strided
// CHECK: gpu.launch_func @mctx_kernels::@mctx_attention_0
// CHECK: gpu.binary @mctx_kernels
// CHECK-NOT: .extern .func
// CHECK-SAME: .visible .entry mctx_attention_0
// CHECK-SAME: cp.async.cg
// CHECK-SAME: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
func.func @strided(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<3, [0]: [0], [1]: [1], [2]: [2]>>] {scale = 0.125 : f32}
      : (!q, !q, !q, !q, !l) -> ()
  return
}
