// RUN: megactx-opt %s --split-input-file --megactx-convert-attention-to-cpu-kernels | FileCheck %s

!t = memref<1x2x?x16xf32>
!l = memref<1x2x?xf32>

// A test that is the same for blocks of queries and keys is asked for each block
// of keys; a tile begins where it holds for some pair, at the first key that no
// tile before had.

// CHECK-LABEL: func.func private @mctx_attention_0
// CHECK: scf.for {{.*}} iter_args({{.*}}) -> (index)
// CHECK: %[[HELD:.*]]:2 = scf.for {{.*}} -> (index, index)
// CHECK: %[[ANY:.*]] = arith.cmpi slt, %{{.*}}, %[[HELD]]#0
// CHECK: %[[ALL:.*]] = arith.cmpi slt, %{{.*}}, %[[HELD]]#1
// CHECK: scf.if %[[ANY]] -> (index)
// CHECK: arith.andi %[[ALL]]
func.func @blocks(%q: !t, %k: !t, %v: !t, %o: !t, %l: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %l) [#megactx.piece<hi<p + 1>, test<((p floordiv 8) mod 3) == ((k floordiv 96) mod 5)>>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}

// -----

!t = memref<1x2x?x16xf32>
!l = memref<1x2x?xf32>

// Blocks of 4 keys are not worth it.

// CHECK-LABEL: func.func private @mctx_attention_0
// CHECK-NOT: scf.for {{.*}} -> (index, index)
func.func @small_blocks(%q: !t, %k: !t, %v: !t, %o: !t, %l: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %l) [#megactx.piece<hi<p + 1>, test<((p floordiv 8) mod 3) == ((k floordiv 4) mod 5)>>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}
