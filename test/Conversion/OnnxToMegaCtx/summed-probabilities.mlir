// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s

!q = tensor<?x2x?x8xf32>
!kt = tensor<?x2x8x?xf32>
!p = tensor<?x2x?x?xf32>
!gate = tensor<1x2x1x1xf32>

// ConViT's form: a gate for each head between two softmaxes, and rows that are divided by their sums, those of the gates.
// CHECK-LABEL: @gated
// CHECK-SAME: %[[Q:.+]]: tensor<?x2x?x8xf32>, %[[K:.+]]: tensor<?x2x?x8xf32>, %[[V:.+]]: tensor<?x2x?x8xf32>, %[[OTHER:.+]]: tensor<?x2x?x?xf32>, %[[A:[^ ]+]]: {{.+}}, %[[C:[^ ]+]]: {{.+}})
// CHECK-NOT: onnx.ReduceSum
// CHECK-DAG: %[[PLACES:.+]] = onnx.Softmax %[[OTHER]]
// CHECK-DAG: %[[OUT:.+]] = megactx.attention %[[Q]]
// CHECK-DAG: %[[CONTENT:.+]] = onnx.Mul %[[OUT]], %[[A]]
// CHECK-DAG: %[[VALUES:.+]] = onnx.MatMul %[[PLACES]], %[[V]]
// CHECK-DAG: %[[POSITION:.+]] = onnx.Mul %[[VALUES]], %[[C]]
// CHECK-DAG: %[[ALL:.+]] = onnx.Add %[[CONTENT]], %[[POSITION]]
// CHECK-DAG: %[[ONE:.+]] = onnx.Mul %{{.+}}, %[[A]] : (tensor<f32>, tensor<1x2x1x1xf32>)
// CHECK-DAG: %[[REST:.+]] = onnx.Mul %{{.+}}, %[[C]] : (tensor<f32>, tensor<1x2x1x1xf32>)
// CHECK-DAG: %[[SUM:.+]] = onnx.Add %[[ONE]], %[[REST]]
// CHECK: onnx.Div %[[ALL]], %[[SUM]]
func.func @gated(%q: !q, %k: !q, %v: !q, %other: !p, %a: !gate, %c: !gate) -> !q {
  %last = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %r = onnx.Softmax %other {axis = -1 : i64} : (!p) -> !p
  %x = onnx.Mul %a, %p : (!gate, !p) -> !p
  %y = onnx.Mul %c, %r : (!gate, !p) -> !p
  %all = onnx.Add %x, %y : (!p, !p) -> !p
  %sums = onnx.ReduceSum %all, %last {keepdims = 0 : i64} : (!p, tensor<1xi64>) -> tensor<?x2x?xf32>
  %rows = onnx.Unsqueeze %sums, %last : (tensor<?x2x?xf32>, tensor<1xi64>) -> tensor<?x2x?x1xf32>
  %w = onnx.Div %all, %rows : (!p, tensor<?x2x?x1xf32>) -> !p
  %o = onnx.MatMul %w, %v : (!p, !q) -> !q
  return %o : !q
}

// What is divided by its sums has sums of one.
// CHECK-LABEL: @divided_twice
// CHECK-SAME: %[[A:[^ ]+]]: tensor<1x2x1x1xf32>
// CHECK: %[[OUT:.+]] = megactx.attention
// CHECK: %[[SCALED:.+]] = onnx.Mul %[[OUT]], %[[A]]
// CHECK: %[[ROWS:.+]] = onnx.Div %[[SCALED]]
// CHECK: %[[ONE:.+]] = onnx.initializer {value = dense<1.000000e+00> : tensor<f32>}
// CHECK: %[[LAST:.+]] = onnx.Div %[[ROWS]], %[[ONE]]
// CHECK: return %[[LAST]]
func.func @divided_twice(%a: !gate, %q: !q, %k: !q, %v: !q) -> !q {
  %last = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %x = onnx.Mul %a, %p : (!gate, !p) -> !p
  %sums = onnx.ReduceSum %x, %last {keepdims = 1 : i64} : (!p, tensor<1xi64>) -> tensor<?x2x?x1xf32>
  %rows = onnx.Div %x, %sums : (!p, tensor<?x2x?x1xf32>) -> !p
  %sums2 = onnx.ReduceSum %rows, %last {keepdims = 1 : i64} : (!p, tensor<1xi64>) -> tensor<?x2x?x1xf32>
  %w = onnx.Div %rows, %sums2 : (!p, tensor<?x2x?x1xf32>) -> !p
  %o = onnx.MatMul %w, %v : (!p, !q) -> !q
  return %o : !q
}

// The Differential Transformer's, where both are attentions.
// CHECK-LABEL: @difference
// CHECK-DAG: %[[FIRST:.+]] = megactx.attention %arg0
// CHECK-DAG: %[[SECOND:.+]] = megactx.attention %arg3
// CHECK-DAG: %[[LESS:.+]] = onnx.Mul %[[SECOND]], %arg5
// CHECK: onnx.Sub %[[FIRST]], %[[LESS]]
func.func @difference(%q: !q, %k: !q, %v: !q, %q2: !q, %k2: !q, %lambda: tensor<f32>) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %kt2 = onnx.Transpose %k2 {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s2 = onnx.MatMul %q2, %kt2 : (!q, !kt) -> !p
  %p2 = onnx.Softmax %s2 {axis = -1 : i64} : (!p) -> !p
  %y = onnx.Mul %p2, %lambda : (!p, tensor<f32>) -> !p
  %w = onnx.Sub %p, %y : (!p, !p) -> !p
  %o = onnx.MatMul %w, %v : (!p, !q) -> !q
  return %o : !q
}

// Probabilities that are a result too are computed in any case.
// CHECK-LABEL: @result_too
// CHECK-NOT: megactx.attention
// CHECK: onnx.Softmax
// CHECK: onnx.Add
func.func @result_too(%q: !q, %k: !q, %v: !q, %other: !p) -> (!q, !p) {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %w = onnx.Add %p, %other : (!p, !p) -> !p
  %o = onnx.MatMul %w, %v : (!p, !q) -> !q
  return %o, %w : !q, !p
}

// A number for each key is none for a row.
// CHECK-LABEL: @scale_of_keys
// CHECK-NOT: megactx.attention
// CHECK: onnx.Softmax
func.func @scale_of_keys(%q: !q, %k: !q, %v: !q, %scale: tensor<?x1x1x?xf32>) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %w = onnx.Mul %p, %scale : (!p, tensor<?x1x1x?xf32>) -> !p
  %o = onnx.MatMul %w, %v : (!p, !q) -> !q
  return %o : !q
}
