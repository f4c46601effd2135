// Products of many rows of bf16 by matrix tiles, where the target has them.
// RUN: megactx-opt %s --split-input-file --megactx-convert-attention-to-cpu-kernels=amx=true --canonicalize --cse | FileCheck %s
// RUN: megactx-opt %s --split-input-file --megactx-convert-attention-to-cpu-kernels | FileCheck %s --check-prefix=WITHOUT
// RUN: megactx-opt %s --split-input-file '--megactx-convert-attention-to-cpu-kernels=amx=true vector-bits=256' | FileCheck %s --check-prefix=WITHOUT

// WITHOUT-NOT: amx.

!t = memref<1x8x?x80xbf16>
!l = memref<1x8x?xf32>

// Scores of 64 keys and 32 rows: columns of keys and of queries are rounded up
// to 96. Of values all columns are rows, and keys that follow each other are in
// a word.
// CHECK-LABEL: func @causal
// CHECK: amx.tile_load {{.*}} : memref<48x128xbf16> into !amx.tile<16x32xbf16>
// CHECK: amx.tile_load {{.*}} : memref<64x96xbf16> into !amx.tile<16x32xbf16>
// CHECK: amx.tile_mulf
// CHECK: amx.tile_store {{.*}} : memref<64x32xf32>, !amx.tile<16x16xf32>
// CHECK: vector.reduction <or>
// CHECK: llvm.call_intrinsic "llvm.x86.avx512.mask.scalef.ps.512"
// CHECK: amx.tile_load {{.*}} : memref<32x64xbf16> into !amx.tile<16x32xbf16>
// CHECK: amx.tile_load {{.*}} : memref<80x64xf32> into !amx.tile<16x16xf32>
// CHECK: amx.tile_load {{.*}} : memref<80x64xbf16> into !amx.tile<16x32xbf16>
// CHECK: amx.tile_store {{.*}} : memref<80x64xf32>, !amx.tile<16x16xf32>
func.func @causal(%q: !t, %k: !t, %v: !t, %o: !t, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}

// -----

!t = memref<1x8x?x64xbf16>
!l = memref<1x8x?xf32>

// Columns that fill tiles: keys equally far from each other are multiplied
// where they are, others are copied before.
// CHECK-LABEL: func @columns_fill_tiles
// CHECK: vector.reduction <and>
// CHECK: scf.if
// CHECK: amx.tile_load %{{.*}}[%{{.*}}], %{{.*}} : memref<?xbf16, strided<[1], offset: ?>> into !amx.tile<16x32xbf16>
// CHECK: else
// CHECK: amx.tile_load {{.*}} : memref<64x64xbf16> into !amx.tile<16x32xbf16>
// Of more than 1024 rows, 128 have the same values turned.
// CHECK: memref<32x256xbf16> into !amx.tile<16x32xbf16>
func.func @columns_fill_tiles(%q: !t, %k: !t, %v: !t, %o: !t, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}

// -----

!t = memref<1x8x?x72xbf16>
!l = memref<1x8x?xf32>

// Not a multiple of a tile's rows.
// CHECK-LABEL: func @head_dim
// CHECK-NOT: amx.
func.func @head_dim(%q: !t, %k: !t, %v: !t, %o: !t, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}

// -----

!t = memref<1x8x?x64xf16>
!l = memref<1x8x?xf32>

// Keys and values are widened once for all rows: 72 of 64 columns.
// CHECK-LABEL: func @f16
// CHECK-NOT: amx.
// CHECK: vector.store {{.*}} : memref<4608xf32>, vector<16xf32>
// CHECK: memref.load {{.*}} : memref<4608xf32>
// CHECK-NOT: amx.
func.func @f16(%q: !t, %k: !t, %v: !t, %o: !t, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}
