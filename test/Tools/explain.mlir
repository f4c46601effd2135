// RUN: megactx-explain %s --queries 8 | FileCheck %s
// RUN: megactx-explain %s --queries 8 --pattern 'window<left = 1, right = 0>' --json | FileCheck %s --check-prefix=JSON
// RUN: megactx-explain %s --queries 1 --keys 8 | FileCheck %s --check-prefix=DECODE
// RUN: megactx-compile %s --pattern 'window<left = 1, right = 0>' -o %t.mctx
// RUN: megactx-explain %t.mctx --queries 8 --json | FileCheck %s --check-prefix=JSON
// RUN: not megactx-explain %t.mctx --pattern causal 2>&1 | FileCheck %s --check-prefix=CHOSEN
// RUN: not megactx-explain %t.absent 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: not megactx-explain %s --queries 99999999999 2>&1 | FileCheck %s --check-prefix=SIZE
// RUN: not megactx-explain %s --pattern 'window<' 2>&1 | FileCheck %s --check-prefix=SYNTAX

// Two heads of 8 queries: 2 * (1 + ... + 8) = 72 pairs of 2 (8 + 8) FLOPs.
// CHECK: layer kind heads
// CHECK: 0 self 2/2 8/8 1 72 56.25 % {{.*}} causal
// CHECK: at 8 queries and 8 keys

// JSON: "bytes": 2048
// JSON: "density": 0.234375
// JSON: "flops": 960
// JSON: "pairs": 30
// JSON: "pattern": "window<left = 1, right = 0> and causal"
// JSON: "pieces": 1
// JSON: "not_raised": []

// The one query stands at the end of the keys.
// DECODE: 0 self 2/2 8/8 1 16 100.00 %

// CHOSEN: an artifact's patterns are chosen; give the model instead
// ABSENT: could not open input file
// SIZE: expected 0 to 2147483648 queries and keys, but got 99999999999
// SYNTAX: error:

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}
