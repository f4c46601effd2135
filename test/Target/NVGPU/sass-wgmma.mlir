// REQUIRES: ptxas, nvdisasm
// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline=arch=sm_90a | %python %S/Inputs/sass.py sm_90a | FileCheck %s

// In the machine code of each turn, a tile's softmax runs while the values of
// the tile before are multiplied.

!q = memref<1x8x4096x64xbf16>
!h = memref<1x8x4096x64xf16>
!w = memref<1x8x4096x128xbf16>
!l = memref<1x8x4096xf32>

// Boxes, which one of the threads that multiply asks for.
// CHECK: kernel
// CHECK-NEXT: turn of products
// CHECK-NEXT: wait phase
// CHECK-NEXT: barrier
// CHECK-NEXT: fence
// CHECK-NEXT: product x4
// CHECK-NEXT: fence
// CHECK-NEXT: product x7
// CHECK-NEXT: expect
// CHECK-NEXT: copy
// CHECK-NEXT: expect
// CHECK-NEXT: copy
// CHECK-NEXT: arrive
// CHECK-NEXT: wait products 1
// CHECK-NEXT: exp2
// CHECK-NEXT: wait products 0
func.func @causal_64(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK-NEXT: kernel
// CHECK-NEXT: turn of products
// CHECK-NEXT: wait phase
// CHECK-NEXT: barrier
// CHECK: wait products 1
// CHECK-NEXT: exp2
// CHECK-NEXT: wait products 0
func.func @window_64(%q: !h, %k: !h, %v: !h, %o: !h, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!h, !h, !h, !h, !l) -> ()
  return
}

// Two warpgroups multiply, by turns, and a warp only loads; rows that see all
// tiles, and those that see some of the block's.
// CHECK-NEXT: kernel
// CHECK-NEXT: registers 232
// CHECK-NEXT: registers 40
// CHECK-NEXT: turn of products
// CHECK-NEXT: wait phase
// CHECK-NEXT: take turn
// CHECK-NEXT: fence
// CHECK-NEXT: product x8
// CHECK-NEXT: fence
// CHECK-NEXT: product x8
// CHECK-NEXT: pass turn
// CHECK-NEXT: wait products 1
// CHECK-NEXT: exp2
// CHECK-NEXT: wait products 0
// CHECK-NEXT: arrive
// CHECK-NEXT: turn of copies
// CHECK-NEXT: wait phase
// CHECK-NEXT: expect
// CHECK-NEXT: copy x2
// CHECK-NEXT: expect
// CHECK-NEXT: copy x2
// CHECK-NEXT: arrive
func.func @causal_128(%q: !w, %k: !w, %v: !w, %o: !w, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!w, !w, !w, !w, !l) -> ()
  return
}

// CHECK-NEXT: kernel
// CHECK-NEXT: registers 232
// CHECK-NEXT: registers 40
// CHECK-NEXT: turn of products
// CHECK: wait products 1
// CHECK-NEXT: exp2
// CHECK-NEXT: wait products 0
// CHECK-NEXT: arrive
// CHECK-NEXT: turn of copies
// CHECK-NEXT: wait phase
// CHECK: arrive
func.func @window_128(%q: !w, %k: !w, %v: !w, %o: !w, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!w, !w, !w, !w, !l) -> ()
  return
}

// A loop for each of two pieces.
// CHECK-NEXT: kernel
// CHECK-NEXT: turn of products
// CHECK: wait products 1
// CHECK-NEXT: exp2
// CHECK-NEXT: wait products 0
// CHECK-NEXT: turn of products
// CHECK: wait products 1
// CHECK-NEXT: exp2
// CHECK-NEXT: wait products 0
// CHECK-NOT: {{.}}
func.func @window_and_sinks_128(%q: !w, %k: !w, %v: !w, %o: !w, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p - 511, 4>>, #megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!w, !w, !w, !w, !l) -> ()
  return
}
