// RUN: megactx-opt %s --megactx-convert-attention-to-linalg --verify-diagnostics

!t = memref<1x2x?x8xf32>
!r = memref<1x2x?xf32>
func.func @after_bufferization(%acc: !t, %max: !r, %sum: !r, %out: !t, %lse: !r) {
  // expected-error@+1 {{expected tensors; convert before bufferization}}
  megactx.finish_attention %acc, %max, %sum outs(%out, %lse) : (!t, !r, !r, !t, !r) -> ()
  return
}
