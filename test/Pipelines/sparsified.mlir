// The closing line counts attentions that were given a pattern, not those whose own is sparse.
// RUN: split-file %s %t && cd %t
// RUN: megactx-compile in.mlir -O0 -o m.mctx 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: megactx-compile in.mlir --policy none.json -O0 -o m.mctx 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: megactx-compile in.mlir --policy cross.json -O0 -o m.mctx 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: megactx-compile in.mlir --policy one.json -O0 -o m.mctx 2>&1 | FileCheck %s --check-prefix=ONE
// RUN: megactx-compile in.mlir --pattern dense -O0 -o m.mctx 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: megactx-compile in.mlir --pattern 'strided<stride = 4>' -O0 -o m.mctx 2>&1 | FileCheck %s --check-prefix=ALL
// NONE: raised 2 attentions, sparsified 0
// ONE: raised 2 attentions, sparsified 1
// ALL: raised 2 attentions, sparsified 2

//--- none.json
{"rules": []}
//--- cross.json
{"rules": [{"kind": "cross", "pattern": "strided<stride = 4>"}]}
//--- one.json
{"rules": [{"layers": "1", "heads": "0", "pattern": "strided<stride = 4>"}]}
//--- in.mlir
!t = tensor<1x2x8x8xf32>
!s = !megactx.source<tensor<1x2x8x8xf32>, tensor<1x2x8x8xf32>>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %s0 = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %a = megactx.attention %q, %s0 {scale = 1.0 : f32} : (!t, !s) -> !t
  %s1 = megactx.source %a, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %c = megactx.attention %q, %s1 {scale = 1.0 : f32} : (!t, !s) -> !t
  return %c : !t
}
