// RUN: megactx-explain %s --queries 8 | FileCheck %s

// Neither heads nor dims are known: 36 pairs of 2 (1 + 1) FLOPs.
// CHECK: layer kind heads
// CHECK: 0 self ?/? ?/? 1 36 56.25 %
// CHECK: a question mark: not known before a run, counted as one
// CHECK-NEXT: where dims stay unknown there is no kernel
!t = tensor<?x?x?x?xf32>
!s = !megactx.source<tensor<?x?x?x?xf32>, tensor<?x?x?x?xf32>>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}
