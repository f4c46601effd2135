// RUN: not megactx-opt %s --megactx-tile-attention=query-tile=0 2>&1 | FileCheck %s --check-prefix=SIZE
// RUN: not megactx-opt %s --megactx-tile-attention 2>&1 | FileCheck %s
// SIZE: error: expected query-tile and key-tile of at least 1, but got 0 and 64
// CHECK: error: 'megactx.online_attention' op expected tensors; tile before bufferization

!t = memref<2x4x?x8xf32>
!r = memref<2x4x?xf32>
func.func @memrefs(%q: !t, %acc: !t, %max: !r) {
  megactx.online_attention %q, %q, %q outs(%acc, %max, %max) #megactx.piece<all> {scale = 1.0 : f32}
      : (!t, !t, !t, !t, !r, !r) -> ()
  return
}
