// RUN: megactx-opt %s --megactx-decompose-patterns --megactx-fuse-attention-pieces="max-head-dim=256 head-dim-multiple=8 max-gradient-dim=128" --verify-diagnostics -o /dev/null
// RUN: megactx-compile %s --compile-to fused -o %t.mlir 2>&1 | FileCheck %s --implicit-check-not warning
// RUN: megactx-compile %s --compile-to fused --generic -o %t.mlir 2>&1 | FileCheck %s --check-prefix=GENERIC --implicit-check-not warning
// GENERIC: pieces to kernels
// RUN: not megactx-opt %s --megactx-fuse-attention-pieces=bias-parts=0 -o /dev/null 2>&1 | FileCheck %s --check-prefix=PARTS
// PARTS: error: expected at least one part of the gradient of a bias, but got bias-parts=0

!u = tensor<1x2x?x?xf32>
func.func @unknown(%q: !u, %k: !u, %v: !u) -> !u {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!u, !u) -> !megactx.source<!u, !u>
  // CHECK-DAG: :[[#@LINE + 2]]:{{.*}} warning: attention has no kernel: the head dim of queries and keys is not known
  // expected-warning@+1 {{attention has no kernel: the head dim of queries and keys is not known; through linalg it is slow and has all scores in memory}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!u, !megactx.source<!u, !u>) -> !u
  return %o : !u
}

!t = tensor<1x2x?x64xf32>
!w = tensor<1x2x?x520xf32>
func.func @values_too_wide(%q: !t, %k: !t, %v: !w) -> !w {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !w) -> !megactx.source<!t, !w>
  // CHECK-DAG: :[[#@LINE + 2]]:{{.*}} warning: attention has no kernel: the head dim of values is 520, kernels take 1, 2, ... 512
  // expected-warning@+1 {{attention has no kernel: the head dim of values is 520, kernels take 8, 16, ... 256}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !megactx.source<!t, !w>) -> !w
  return %o : !w
}

!n = tensor<1x2x?x20xf32>
func.func @no_multiple(%q: !n, %k: !n, %v: !n) -> !n {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!n, !n) -> !megactx.source<!n, !n>
  // expected-warning@+1 {{attention has no kernel: the head dim of queries and keys is 20, kernels take 8, 16, ... 256}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!n, !megactx.source<!n, !n>) -> !n
  return %o : !n
}

!g = tensor<1x2x?x136xf32>
!r = tensor<1x2x?xf32>
func.func @gradient(%q: !g, %k: !g, %v: !g, %lse: !r) -> !g {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!g, !g) -> !megactx.source<!g, !g>
  // expected-warning@+1 {{attention's gradient has no kernel: the head dim of queries and keys is 136, kernels take 8, 16, ... 128}}
  %g:3 = megactx.attention_backward %q, %s out(%q) lse(%lse) dout(%q) {scale = 1.0 : f32} : (!g, !megactx.source<!g, !g>, !g, !r, !g) -> (!g, !g, !g)
  return %g#0 : !g
}

// One place, one warning: nodes without a name are at that of their operator.
// CHECK-DAG: warning: loc("MatMul"): attention has no kernel: {{.*}} (node 'MatMul')
func.func @one_place(%q: !u, %k: !u, %v: !u) -> !u {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!u, !u) -> !megactx.source<!u, !u>
  // expected-warning@unknown {{attention has no kernel: the head dim of queries and keys is not known}}
  %a = megactx.attention %q, %s {scale = 1.0 : f32} : (!u, !megactx.source<!u, !u>) -> !u loc("MatMul")
  %b = megactx.attention %a, %s {scale = 1.0 : f32} : (!u, !megactx.source<!u, !u>) -> !u loc("MatMul")
  return %b : !u
}
