// RUN: not megactx-opt %s --megactx-convert-attention-to-cpu-kernels -split-input-file 2>&1 | FileCheck %s
// RUN: not megactx-opt %s --megactx-convert-attention-to-cpu-kernels=vector-bits=100 -split-input-file 2>&1 | FileCheck %s --check-prefix=BITS

// BITS: expected vector-bits of 128, 256 or 512, but got 100
// CHECK: expected static head dims
!t = memref<1x2x?x?xf32>
!l = memref<1x2x?xf32>
func.func @dynamic_head_dim(%q: !t, %o: !t, %l: !l) {
  megactx.fused_attention %q, %q, %q outs(%o, %l) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}

// -----

// CHECK: expected head dims of 1 to 512, but got 1024 and 1024
!t = memref<1x2x?x1024xf32>
!l = memref<1x2x?xf32>
func.func @head_dim_too_large(%q: !t, %o: !t, %l: !l) {
  megactx.fused_attention %q, %q, %q outs(%o, %l) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}

// -----

// CHECK: expected rows of unit stride
!t = memref<1x2x?x16xf32, strided<[?, ?, ?, 2]>>
!o = memref<1x2x?x16xf32>
!l = memref<1x2x?xf32>
func.func @row_stride(%q: !t, %o: !o, %l: !l) {
  megactx.fused_attention %q, %q, %q outs(%o, %l) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !o, !l) -> ()
  return
}
