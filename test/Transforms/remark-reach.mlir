// RUN: megactx-opt %s --megactx-sparsify='pattern=strided<stride=4>' --megactx-remark-reach='tokens=64 gist=6' --remarks-filter=remark-reach -o %t.mlir 2>&1 | FileCheck %s
// RUN: megactx-opt %s --megactx-sparsify='pattern=strided<stride=4>' | diff %t.mlir -
// RUN: megactx-opt %s --megactx-sparsify='pattern=window<left=31,right=0>' --megactx-remark-reach=tokens=64 --remarks-filter=remark-reach -o %t.mlir 2>&1 | FileCheck %s --check-prefix=DEEP
// RUN: megactx-opt %s --megactx-remark-reach --remarks-filter=remark-reach -o %t.mlir 2>&1 | FileCheck %s --check-prefix=WHOLE
// RUN: not megactx-opt %s --megactx-remark-reach=tokens=0 2>&1 | FileCheck %s --check-prefix=BAD

// CHECK: remark-reach.mlir:[[# @LINE + 22]]:8: remark: [Missed] not-reached | Category:remark-reach | Function=main | {{.*}}Reason="4 sets of positions that no layer connects: positions 0 to 60 every 4; positions 1 to 61 every 4; positions 2 to 62 every 4; positions 3 to 63 every 4"{{.*}}Remark="reach of 2 self-attentions, every past position, at 64 rows: not reached, however many layers"
// CHECK: remark-reach.mlir:[[# @LINE + 21]]:8: remark: [Analysis] mend | {{.*}} Remark="mended by `or causal and window<left = 4, right = 0>` in layer 1: reached after 2, 186 more pairs a head at 64 rows"
// CHECK: remark-reach.mlir:[[# @LINE + 20]]:8: remark: [Missed] misaligned-with-gists | {{.*}} Remark="strided<stride = 4> cuts gists of 6 tokens; 3 would not"
// CHECK: remark-reach.mlir:[[# @LINE + 21]]:8: remark: [Missed] misaligned-with-gists

// DEEP: [Missed] not-reached
// DEEP-SAME: reached after 3 layers, more than there are
// DEEP: [Analysis] mend

// WHOLE-NOT: Missed
// WHOLE: [Passed] reached | {{.*}} Remark="reach of 2 self-attentions, every past position, at 4096 rows: reached after 1 layer"
// WHOLE-NOT: mend

// BAD: error: remark-reach: expected at least one token and gists of at least one, but got 0 and 1

// Cross-attention is no layer of the stack: its keys are others' positions.
!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %c = megactx.source %k, %v pattern(#megactx.pattern<window<left = 1, right = 1>>) : (!t, !t) -> !s
  %x = megactx.attention %q, %c {scale = 1.0 : f32, kind = "cross"} : (!t, !s) -> !t
  %s = megactx.source %x, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %x, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  %r = megactx.source %o, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %p = megactx.attention %o, %r {scale = 1.0 : f32} : (!t, !s) -> !t
  return %p : !t
}
