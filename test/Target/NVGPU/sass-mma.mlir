// REQUIRES: ptxas, nvdisasm
// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline | %python %S/Inputs/sass.py sm_80 | FileCheck %s

// In the machine code of each turn, the wait for a stage's copies and the
// barrier are before what reads it, and the copies of a later stage before the
// products that run beside them.

#three_stages = #nvx.schedule<rows = 64, columns = 32, warps = 4, stages = 3, product = mma_sync, held = true, blocks = 2>
!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
!w = memref<1x8x4096x128xbf16>
!x = memref<1x8x4096x64xbf16>
!row = memref<1x8x4096xf32>
!dq = memref<1x8x4096x64xf32>

// One kernel for any number of rows, and one for few.
// CHECK-COUNT-2: turn of products
// CHECK-NEXT: commit
// CHECK-NEXT: wait copies 0
// CHECK-NEXT: barrier
// CHECK-NEXT: copy
// CHECK-NEXT: load x{{.*}}, product x64, exp2
func.func @causal(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK-NEXT: kernel
// CHECK-NEXT: turn of products
// CHECK-NEXT: commit
// CHECK-NEXT: wait copies 0
// CHECK-NEXT: barrier
// CHECK-NEXT: copy
// CHECK-NEXT: load x{{.*}}, product x128, exp2
func.func @window(%q: !w, %k: !w, %v: !w, %o: !w, %lse: !row) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!w, !w, !w, !w, !row) -> ()
  return
}

// CHECK-NEXT: kernel
// CHECK-NEXT: turn of products
// CHECK-NEXT: commit
// CHECK-NEXT: wait copies 0
// CHECK-NEXT: barrier
// CHECK-NEXT: copy
// CHECK-NEXT: load x{{.*}}, product x64, exp2
func.func @strided_view(%q: !x, %k: !x, %v: !x, %o: !x, %lse: !row) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>, digits<3, [0]: [0], [1]: [1], [2]: [2]>>] {scale = 0.125 : f32} : (!x, !x, !x, !x, !row) -> ()
  return
}

// The newest copies of two stages need not have arrived.
// CHECK-NEXT: kernel
// CHECK-NEXT: turn of products
// CHECK-NEXT: commit
// CHECK-NEXT: wait copies 1
// CHECK-NEXT: barrier
// CHECK-NEXT: copy
// CHECK-NEXT: load x{{.*}}, product x64, exp2
func.func @three_stages(%q: !w, %k: !w, %v: !w, %o: !w, %lse: !row) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32, nvx.schedule = #three_stages} : (!w, !w, !w, !w, !row) -> ()
  return
}

// CHECK-NEXT: kernel
// CHECK-NEXT: turn of products
// CHECK-NEXT: commit
// CHECK-NEXT: wait copies 0
// CHECK-NEXT: barrier
// CHECK-NEXT: copy
// CHECK-NEXT: load x{{.*}}, product x96, exp2
// CHECK-NEXT: kernel
// CHECK-NEXT: turn of products
// CHECK-NEXT: commit
// CHECK-NEXT: wait copies 0
// CHECK-NEXT: barrier
// CHECK-NEXT: copy
// CHECK-NEXT: load x{{.*}}, product x128, exp2{{.*}}
// CHECK-NOT: {{.}}
func.func @gradients(%q: !x, %k: !x, %row: !row, %dq: !dq, %dk: !dq, %dv: !dq) {
  megactx.fused_query_gradient %q, %k, %k lse(%row) delta(%row) dout(%q) outs(%dq) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!x, !x, !x, !row, !row, !x, !dq) -> ()
  megactx.fused_key_gradient %q, %k, %k lse(%row) delta(%row) dout(%q) outs(%dk, %dv) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!x, !x, !x, !row, !row, !x, !dq, !dq) -> ()
  return
}
