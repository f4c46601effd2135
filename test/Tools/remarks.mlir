// One source of what stays dense, or a bias: remarks. The compiler prints them when asked to, its artifacts keep them, and reports show them.
// RUN: megactx-compile %s -o %t.mctx 2>&1 | FileCheck %s --check-prefix=SILENT
// RUN: megactx-compile %s -o %t.mctx --remarks-filter=raise-onnx-attention 2>&1 | FileCheck %s --check-prefix=PRINTED
// RUN: megactx-compile %s -o %t.mctx --remarks-filter=raise 2>&1 | FileCheck %s --check-prefix=SILENT
// RUN: megactx-explain %s --queries 8 | FileCheck %s
// RUN: megactx-explain %t.mctx --queries 8 | FileCheck %s
// RUN: megactx-explain %s --queries 8 --json | FileCheck %s --check-prefix=JSON
// RUN: megactx-explain %t.mctx --queries 8 --json | FileCheck %s --check-prefix=JSON
// RUN: megactx-compile %s -o %t.mctx --pattern causal 2>&1 | FileCheck %s --check-prefix=SPARSE
// RUN: rm -rf %t.bad && not megactx-compile %s -o %t.bad --remarks-filter='(' 2>&1 | FileCheck %s --check-prefix=REGEX
// RUN: not ls %t.bad

// SILENT-NOT: remark:
// SILENT-NOT: not raised
// SILENT: raised 1 attentions

// SPARSE: 2 not raised to attention, megactx-explain says why
// SPARSE-NEXT: raised 1 attentions, sparsified 1

// PRINTED: remark: {{.*}}[Missed] term-stays-bias | Category:raise-onnx-attention | Function=main | Node=apply, Reason="no mask: it adds values of input 'm'", Remark="input 'm'"
// PRINTED: remark: {{.*}}[Passed] attention-raised | Category:raise-onnx-attention | Function=main | Node=first, Remark=dense
// PRINTED: remark: {{.*}}[Missed] attention-not-raised | Category:raise-onnx-attention | Function=main | Node=second, Reason="its probabilities have other uses"

// CHECK: 0 self 2/2 8/8 1 128 100.00 % {{.*}} dense, with a bias
// CHECK: stays a bias: node 'apply': input 'm': no mask: it adds values of input 'm'
// CHECK-NEXT: not raised to attention: node 'second' and 1 more: its probabilities have other uses

// JSON: "missed": [
// JSON: "name": "term-stays-bias",
// JSON-NEXT: "node": "apply",
// JSON-NEXT: "reason": "no mask: it adds values of input 'm'",
// JSON-NEXT: "what": "input 'm'"
// JSON: "name": "attention-not-raised",
// JSON-NEXT: "node": "second",
// JSON-NEXT: "reason": "its probabilities have other uses",
// JSON-NEXT: "what": ""

// REGEX: error: --remarks-filter: parentheses not balanced

!q = tensor<1x2x8x8xf32>
func.func @main(%q: !q {onnx.name = "q"}, %m: !q {onnx.name = "m"}) -> (!q, !q, !q) {
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !q
  %s = onnx.MatMul %q, %kt : (!q, !q) -> !q
  %t = onnx.Add %s, %m : (!q, !q) -> !q loc("apply")
  %p = onnx.Softmax %t {axis = -1 : i64} : (!q) -> !q loc("first")
  %o = onnx.MatMul %p, %q : (!q, !q) -> !q
  %p2 = onnx.Softmax %s {axis = -1 : i64} : (!q) -> !q loc("second")
  %o2 = onnx.MatMul %p2, %o : (!q, !q) -> !q
  %s3 = onnx.MatMul %o2, %kt : (!q, !q) -> !q
  %p3 = onnx.Softmax %s3 {axis = -1 : i64} : (!q) -> !q loc("third")
  %o3 = onnx.MatMul %p3, %o2 : (!q, !q) -> !q
  return %p2, %p3, %o3 : !q, !q, !q
}
