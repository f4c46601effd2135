// RUN: megactx-opt %s --megactx-convert-attention-to-cpu-kernels=vector-bits=512 | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-attention-to-cpu-kernels=amx=true --canonicalize --cse | FileCheck %s --check-prefix=TILES
// RUN: not megactx-opt %s --megactx-convert-attention-to-cpu-kernels=vector-bits=100 2>&1 | FileCheck %s --check-prefix=BITS
// BITS: expected vector-bits of 128, 256 or 512, but got 100

// Scores and dP of 64 rows and 32 lanes; the sums of dX times rows that are
// turned. Keys' gradients sum P times rows, too.
// TILES-LABEL: func @of_queries_and_keys
// TILES: amx.tile_load {{.*}} : memref<32x128xbf16> into !amx.tile<16x32xbf16>
// TILES: amx.tile_load {{.*}} : memref<64x64xbf16> into !amx.tile<16x32xbf16>
// TILES: amx.tile_store {{.*}} : memref<64x32xf32>, !amx.tile<16x16xf32>
// TILES: amx.tile_store {{.*}} : memref<64x32xf32>, !amx.tile<16x16xf32>
// TILES: llvm.call_intrinsic "llvm.x86.avx512.mask.scalef.ps.512"
// TILES: amx.tile_load {{.*}} : memref<32x64xbf16> into !amx.tile<16x32xbf16>
// TILES: amx.tile_load {{.*}} : memref<64x64xf32> into !amx.tile<16x16xf32>
// TILES: amx.tile_store {{.*}} : memref<64x64xf32>, !amx.tile<16x16xf32>

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

// CHECK-LABEL: @of_a_bias
// CHECK: call @[[BIAS:mctx_attention_[0-9]+]](
!parts = memref<16x1x8x?xf32>
func.func @of_a_bias(%q: !q, %k: !k, %row: !row, %parts: !parts) {
  megactx.fused_bias_gradient %q, %k, %k lse(%row) delta(%row) dout(%q) outs(%parts) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!q, !k, !k, !row, !row, !q, !parts) -> ()
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

// A task has every so many-th block, of all batches and heads that the bias is
// the same for;
// dS is computed as for queries, but by vectors of f32 alone.
// CHECK: func.func private @[[BIAS]](
// CHECK-SAME: memref<?x?x?x?xf32, strided<[?, ?, ?, ?], offset: ?>>)
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK: scf.for
// CHECK: scf.for
// CHECK: scf.if
