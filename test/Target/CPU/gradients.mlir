// RUN: megactx-opt %s --megactx-convert-attention-to-cpu-kernels=vector-bits=512 | FileCheck %s
// RUN: not megactx-opt %s --megactx-convert-attention-to-cpu-kernels=vector-bits=100 2>&1 | FileCheck %s --check-prefix=BITS
// BITS: expected vector-bits of 128, 256 or 512, but got 100

!q = memref<1x8x?x64xbf16>
!k = memref<1x2x?x64xbf16>
!row = memref<1x8x?xf32>

// CHECK-LABEL: @of_queries_and_keys
// CHECK: call @[[QUERIES:mctx_attention_[0-9]+]](
// CHECK: call @[[KEYS:mctx_attention_[0-9]+]](
func.func @of_queries_and_keys(%q: !q, %k: !k, %row: !row, %dq: memref<1x8x?x64xf32>, %dk: memref<1x2x?x64xf32>) {
  megactx.fused_query_gradient %q, %k, %k lse(%row) delta(%row) dout(%q) outs(%dq) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!q, !k, !k, !row, !row, !q, memref<1x8x?x64xf32>) -> ()
  megactx.fused_key_gradient %q, %k, %k lse(%row) delta(%row) dout(%q) outs(%dk, %dk) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!q, !k, !k, !row, !row, !q, memref<1x2x?x64xf32>, memref<1x2x?x64xf32>) -> ()
  return
}

// Keys of a row come by closed bounds.
// CHECK: func.func private @[[QUERIES]](
// CHECK: scf.parallel
// CHECK-NOT: scf.while
// CHECK: call @[[LOAD:mctx_attention_part_[0-9]+]](
// CHECK-NOT: scf.while
// CHECK: scf.if
// CHECK-NEXT: call @mctx_attention_part_{{[0-9]+}}(
// CHECK-NEXT: else
// CHECK-NEXT: call @mctx_attention_part_{{[0-9]+}}(

// Queries of a block of keys, for each head that reads them, by bisection.
// CHECK: func.func private @[[KEYS]](
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK: scf.while
// CHECK: scf.while
// CHECK: scf.if
// CHECK-NEXT: call @mctx_attention_part_{{[0-9]+}}(
// CHECK-NEXT: else
// CHECK-NEXT: call @mctx_attention_part_{{[0-9]+}}(
