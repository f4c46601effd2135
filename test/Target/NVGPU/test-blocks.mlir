// RUN: megactx-opt %s --split-input-file --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a | FileCheck %s

// A test that is the same for blocks of keys and queries: each thread asks for a
// tile, warps tell each other their ballots, and the loop comes to those that
// ballots name, 64 keys each.

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK-SAME: columns = 64
// CHECK: scf.while
// CHECK: nvvm.vote.sync ballot
// CHECK: nvvm.vote.sync ballot
// CHECK: memref.store {{.*}} : memref<8xi32, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// CHECK-COUNT-8: memref.load {{.*}} : memref<8xi32, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// CHECK: llvm.intr.cttz
func.func @blocks(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, test<((p floordiv 128) mod 3) == ((k floordiv 64) mod 5)>>] {scale = 0.125 : f32}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// -----

// Of blocks of 32 keys, 32.

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK-SAME: columns = 32
// CHECK: nvvm.vote.sync ballot
func.func @small_blocks(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<test<((p floordiv 32) mod 3) == ((k floordiv 32) mod 5)>>] {scale = 0.125 : f32}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// -----

// Blocks of 4 keys, and queries in none: every tile within the bounds.

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK-SAME: columns = 48
// CHECK-NOT: nvvm.vote.sync ballot
func.func @elements(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<test<(p mod 3) == ((k floordiv 4) mod 5)>>] {scale = 0.125 : f32}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}
