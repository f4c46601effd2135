// Pieces of every kind of condition are read back as they are written.
// RUN: megactx-opt %s --megactx-decompose-patterns -o %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: megactx-opt %t.mlir | diff %t.mlir -

!t = tensor<1x4x?x8xf32>
!s = !megactx.source<!t, !t>

// CHECK-LABEL: @ranges_of_heads
// CHECK: #megactx.piece<heads<not(h lt 0) and (h lt 1)>, hi<p + 1>>
// CHECK: #megactx.piece<heads<not(h lt 1) and (h lt 3)>, digits
// CHECK: #megactx.piece<heads<not(not(h lt 0) and (h lt 1)) and not(not(h lt 1) and (h lt 3))>>
// CHECK-NOT: #megactx.piece
// CHECK: finish_attention
func.func @ranges_of_heads(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<per_head<0: causal, 1-2: strided<stride = 2>, 3-: dense>>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @blocks
// CHECK: #megactx.piece<test<{{.*}} lt {{.*}}>>
func.func @blocks(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<blocks<block = 8, row_ptr = [0, 1, 3, 4], col_idx = [0, 0, 1, 2]>>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @random
func.func @random(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<random<block = 8, count = 2, seed = 1> and causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}
