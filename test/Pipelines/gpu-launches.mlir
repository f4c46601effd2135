// RUN: megactx-opt %s --megactx-gpu-launches-pipeline -o %t.mlir && FileCheck %s < %t.mlir
// RUN: megactx-opt %t.mlir --megactx-gpu-to-llvm-pipeline | FileCheck %s --check-prefix=LLVM --implicit-check-not=memref.
// RUN: not megactx-opt %s --megactx-gpu-launches-pipeline=arch=sm_9O 2>&1 | FileCheck %s --check-prefix=ARCH
// ARCH: error: expected a known architecture of sm_80 or later, but got 'sm_9O'; did you mean 'sm_90'?

// From memrefs to launches: products are calls, the rest kernels, of which equal
// ones are one; all in one binary. What the device cannot know is checked on the host.
// CHECK-LABEL: func.func @main
// CHECK: gpu.alloc
// CHECK: gpu.launch_func @mctx_kernels::@[[NEGATE:[a-z_0-9]*]] blocks
// CHECK: gpu.launch_func @mctx_kernels::@[[NEGATE]] blocks
// CHECK: call @mctx_rt_device_matmul_f32
// CHECK: gpu.launch_func @mctx_kernels::@mctx_attention_0
// CHECK: gpu.binary @mctx_kernels
// CHECK-SAME: .target sm_80
// CHECK-NOT: linalg

// LLVM-LABEL: llvm.func @main
// LLVM: llvm.call @mgpuMemAlloc
// LLVM: llvm.call @mctx_rt_device_matmul_f32

#id = affine_map<(b, i, j) -> (b, i, j)>
#a = affine_map<(b, m, n, k) -> (b, m, k)>
#b = affine_map<(b, m, n, k) -> (b, k, n)>
#c = affine_map<(b, m, n, k) -> (b, m, n)>
!m = memref<?x8x8xf32>
!q = memref<?x?x?x64xf16>
func.func @main(%x: !m, %y: !m, %z: !m, %q: !q, %o: !q, %l: memref<?x?x?xf32>) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : !m
  %w = memref.alloc(%n) : !m
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%x : !m) outs(%w : !m) {
  ^bb0(%v: f32, %old: f32):
    %0 = arith.negf %v : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%y : !m) outs(%w : !m) {
  ^bb0(%v: f32, %old: f32):
    %0 = arith.negf %v : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : !m, !m) outs(%z : !m) {
  ^bb0(%p: f32, %r: f32, %acc: f32):
    %0 = arith.mulf %p, %r : f32
    %1 = arith.addf %acc, %0 : f32
    linalg.yield %1 : f32
  }
  megactx.fused_attention %q, %q, %q outs(%o, %l) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, memref<?x?x?xf32>) -> ()
  memref.dealloc %w : !m
  return
}
