// RUN: megactx-explain %s --queries 64 --pattern 'strided<stride = 4>' --reach=all --gist 6 | FileCheck %s
// RUN: megactx-explain %s --queries 64 --pattern 'strided<stride = 4>' --reach=1 --json | FileCheck %s --check-prefix=JSON
// RUN: megactx-explain %s --queries 64 --pattern 'window<left = 15, right = 0> or global_keys<first = 1>' --reach=0-1 | FileCheck %s --check-prefix=DEEP
// RUN: megactx-explain %s --queries 64 --pattern 'window<left = 31, right = 0>' --reach=all | FileCheck %s --check-prefix=WHOLE
// RUN: megactx-explain %s --queries 64 --pattern 'strided<stride = 20>' --reach=all | FileCheck %s --check-prefix=MANY
// RUN: not megactx-explain %s --reach=1-2 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: not megactx-explain %s --reach=first 2>&1 | FileCheck %s --check-prefix=SYNTAX

// Each residue of the stride is on its own; a window in one layer joins them.
// CHECK: reach of 2 self-attentions, every past position, at 64 rows: not reached, however many layers
// CHECK-NEXT: 4 sets of positions that no layer connects:
// CHECK-NEXT: positions 0 to 60 every 4
// CHECK-NEXT: positions 1 to 61 every 4
// CHECK-NEXT: positions 2 to 62 every 4
// CHECK-NEXT: positions 3 to 63 every 4
// CHECK-NEXT: mended by `or causal and window<left = 4, right = 0>` in layer 0: reached after 2, 186 more pairs a head at 64 rows
// CHECK-NEXT: layer 0: strided<stride = 4> cuts gists of 6 tokens; 3 would not
// CHECK-NEXT: layer 1: strided<stride = 4> cuts gists of 6 tokens; 3 would not

// No sparse addition makes one layer see all at once: the one with the fewest
// layers is given.
// JSON: "reach": {
// JSON: "goal": "every past position"
// JSON: "hops": null
// JSON: "mend": {
// JSON: "hops": 2,
// JSON-NEXT: "layer": 1,
// JSON: "of_layers": [
// JSON-NEXT: 1
// JSON-NEXT: ]

// DEEP: at 64 rows: reached after 5 layers, more than there are
// DEEP-NEXT: mended by

// MANY: 20 sets of positions
// MANY-COUNT-16: positions
// MANY-NEXT: and 4 more

// WHOLE: at 64 rows: reached after 3 layers, more than there are

// ABSENT: error: {{.*}}explain-reach.mlir: no self-attention in layers 1 to 2, the model has 2 layers
// SYNTAX: error: expected --reach=all or --reach=FIRST-LAST, but got 'first'

// RUN: not megactx-explain %s --reach=all --gist -5 2>&1 | FileCheck %s --check-prefix=GIST
// GIST: error: expected --gist of at least 1, but got -5
// RUN: not megactx-explain %s --pattern causal --step -3 2>&1 | FileCheck %s --check-prefix=STEP
// STEP: error: expected --step of at least 0, but got -3
// RUN: not megactx-explain %s --pattern causal --step 3 2>&1 | FileCheck %s --check-prefix=NO-POLICY
// NO-POLICY: error: expected --policy with --step

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  %r = megactx.source %o, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %p = megactx.attention %o, %r {scale = 1.0 : f32} : (!t, !s) -> !t
  return %p : !t
}
