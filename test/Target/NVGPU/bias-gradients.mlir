// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a --canonicalize --cse | FileCheck %s

!q = memref<2x4x?x64xbf16>
!row = memref<2x4x?xf32>

// Blocks of queries for each head and batch, whatever the bias is the same for.
// CHECK-LABEL: @of_three_shapes
// CHECK: gpu.launch_func @{{.*}}::@[[PAIRS:mctx_attention_[0-9]+]] blocks in (%{{.*}}, %c4, %c2)
// CHECK: gpu.launch_func @{{.*}}::@[[KEYS:mctx_attention_[0-9]+]] blocks in (%{{.*}}, %c4, %c2)
// CHECK: gpu.launch_func @{{.*}}::@[[DISTANCES:mctx_attention_[0-9]+]] blocks in (%{{.*}}, %c4, %c2)
// CHECK-NOT: gpu.launch_func
!pairs = memref<1x1x4x?x?xf32>
!keys = memref<1x2x1x1x?xf32>
!distances = memref<1x1x4x?xf32>
func.func @of_three_shapes(%q: !q, %row: !row, %pairs: !pairs, %keys: !keys, %distances: !distances) {
  megactx.fused_bias_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%pairs) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!q, !q, !q, !row, !row, !q, !pairs) -> ()
  megactx.fused_bias_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%keys) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!q, !q, !q, !row, !row, !q, !keys) -> ()
  megactx.fused_bias_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%distances) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!q, !q, !q, !row, !row, !q, !distances) -> ()
  return
}

// Two products of a tile, 64 x 64, and an element of each of the lane's pairs.
// CHECK: gpu.func @[[PAIRS]](
// CHECK-COUNT-64: nvx.mma_sync
// CHECK-NOT: nvx.mma_sync
// CHECK-COUNT-32: nvx.atomic_add %{{.*}}, %{{.*}}[%{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}]
// CHECK-NOT: nvx.atomic_add
// CHECK: gpu.return

// Of each key, one sum of the warp's rows.
// CHECK: gpu.func @[[KEYS]](
// CHECK-COUNT-3: gpu.shuffle xor
// CHECK: arith.cmpi slt, %{{.*}}, %c4
// CHECK-COUNT-16: nvx.atomic_add
// CHECK-NOT: nvx.atomic_add
// CHECK: gpu.return

// CHECK: gpu.func @[[DISTANCES]](
// CHECK-COUNT-32: nvx.atomic_add %{{.*}}, %{{.*}}[%{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}]
// CHECK-NOT: nvx.atomic_add
// CHECK: gpu.return
