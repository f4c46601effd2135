// RUN: megactx-opt %s --megactx-convert-attention-to-cpu-kernels | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-attention-to-cpu-kernels=vector-bits=256 | FileCheck %s --check-prefix=AVX2
// RUN: megactx-opt %s --megactx-convert-attention-to-cpu-kernels | FileCheck %s --check-prefix=LOOPS

// LLVM leaves the loops of kernels as they are, but those over columns of one row.
// LOOPS: func private @mctx_attention_0({{.*}} attributes {passthrough = ["megactx-no-unroll"]} {
// LOOPS: func private @mctx_attention_part_0({{.*}} attributes {passthrough = ["megactx-no-unroll"]} {
// LOOPS: func private @mctx_attention_part_1(
// LOOPS-NOT: passthrough
// LOOPS: vector.reduction

!t = memref<1x2x?x16xf32>
!l = memref<1x2x?xf32>

// Two attentions of one shape share a kernel; another pattern gets its own.
// CHECK-LABEL: @layers_share_kernels
// CHECK: call @[[CAUSAL:mctx_attention_[0-9]+]](
// CHECK: call @[[CAUSAL]](
// CHECK: call @[[STRIDED:mctx_attention_[0-9]+]](
// AVX2-LABEL: @layers_share_kernels
func.func @layers_share_kernels(%q: !t, %k: !t, %v: !t, %o: !t, %l: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %l) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> ()
  megactx.fused_attention %k, %q, %v outs(%o, %l) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> ()
  megactx.fused_attention %q, %k, %v outs(%o, %l) [#megactx.piece<hi<p + 1>, digits<2, [0]: [0], [1]: [1]>>] {accumulate, scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}

// Where every residue has a class, the kernel writes every row; where one has
// none, its rows are cleared before.
// CHECK-LABEL: @residues_all_in_classes
// CHECK-NOT: memref.store
// CHECK: call @mctx_attention
func.func @residues_all_in_classes(%q: !t, %k: !t, %v: !t, %o: !t, %l: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %l) [#megactx.piece<hi<p + 1>, digits<2, [0]: [0], [1]: [1]>>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}
// The kernel has a class for the rows without keys.
// CHECK-LABEL: @residue_in_no_class
// CHECK-NOT: memref.store
// CHECK: call @mctx_attention
func.func @residue_in_no_class(%q: !t, %k: !t, %v: !t, %o: !t, %l: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %l) [#megactx.piece<hi<p + 1>, digits<2, [1]: [1]>>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> ()
  return
}

// A block of keys that every row sees is multiplied without looking at bounds;
// the other branch compares keys with each row's.
// CHECK: func.func private @[[CAUSAL]](
// CHECK: scf.parallel
// CHECK: call @[[LOAD:mctx_attention_part_[0-9]+]](
// CHECK: scf.if %{{[^ ]*}} {
// CHECK-NEXT: call @[[FULL:mctx_attention_part_[0-9]+]](
// CHECK-NEXT: else
// CHECK-NEXT: call @[[MASKED:mctx_attention_part_[0-9]+]](
// CHECK: func.func private @[[LOAD]](
// CHECK: vector.shuffle
// CHECK: func.func private @[[FULL]](
// CHECK-NOT: arith.cmpi sge
// CHECK: vector.fma {{.*}} : vector<16xf32>
// CHECK-NOT: arith.cmpi sge
// CHECK: func.func private @[[MASKED]](
// CHECK: vector.fma
// CHECK: arith.cmpi sge, {{.*}} : vector<16xi32>

// Kernels of other pieces call the same parts.
// CHECK: func.func private @[[STRIDED]](
// CHECK: call @[[LOAD]](
// CHECK: scf.if %{{[^ ]*}} {
// CHECK-NEXT: call @[[FULL]](
// CHECK-NEXT: else
// CHECK-NEXT: call @[[MASKED]](

// AVX2: func.func private @mctx_attention_0(
// AVX2: func.func private @mctx_attention_part_0(
// AVX2: vector.fma {{.*}} : vector<8xf32>
