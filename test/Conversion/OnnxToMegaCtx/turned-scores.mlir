// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s

!q = tensor<?x2x?x8xf32>
!kt = tensor<?x2x8x?xf32>
!p = tensor<?x2x?x?xf32>

// Transformer-XL's order, "ijbn", as Einsum is written in products: keys are the second axis of scores and mask.
// CHECK-LABEL: @keys_second(
// CHECK: megactx.source {{.*}} pattern(#megactx.pattern<causal>)
// CHECK-NOT: onnx.Softmax
!ij = tensor<?x?x?x2xf32>
func.func @keys_second(%q: !q, %kt: !kt, %v: !q) -> !q {
  %c = onnx.initializer {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %minus = onnx.initializer {value = dense<-1.0e30> : tensor<f32>} : tensor<f32>
  %axes = onnx.initializer {value = dense<[2, 3]> : tensor<2xi64>} : tensor<2xi64>
  %0 = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %1 = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %rows = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %columns = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %shape = onnx.Shape %q : (!q) -> tensor<4xi64>
  %two = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %n = onnx.Gather %shape, %two {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %range = onnx.Range %0, %n, %1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %i = onnx.Unsqueeze %range, %rows : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %j = onnx.Unsqueeze %range, %columns : (tensor<?xi64>, tensor<1xi64>) -> tensor<1x?xi64>
  %later = onnx.Greater %j, %i : (tensor<1x?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %mask = onnx.Unsqueeze %later, %axes : (tensor<?x?xi1>, tensor<2xi64>) -> tensor<?x?x1x1xi1>
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Transpose %s {perm = array<i64: 2, 3, 0, 1>} : (!p) -> !ij
  %x = onnx.Mul %t, %c : (!ij, tensor<f32>) -> !ij
  %m = onnx.Where %mask, %minus, %x : (tensor<?x?x1x1xi1>, tensor<f32>, !ij) -> !ij
  %p = onnx.Softmax %m {axis = 1 : i64} : (!ij) -> !ij
  %w = onnx.Transpose %p {perm = array<i64: 2, 3, 0, 1>} : (!ij) -> !p
  %o = onnx.MatMul %w, %v : (!p, !q) -> !q
  return %o : !q
}

// Keys times queries, whose scores are transposed, or summed along their rows and then transposed.
// CHECK-LABEL: @keys_times_queries(
// CHECK: megactx.attention
// CHECK-LABEL: @softmax_of_columns(
// CHECK: megactx.attention
func.func @keys_times_queries(%qt: !kt, %k: !q, %v: !q) -> !q {
  %s = onnx.MatMul %k, %qt : (!q, !kt) -> !p
  %t = onnx.Transpose %s {perm = array<i64: 0, 1, 3, 2>} : (!p) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}
func.func @softmax_of_columns(%qt: !kt, %k: !q, %v: !q) -> !q {
  %s = onnx.MatMul %k, %qt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = 2 : i64} : (!p) -> !p
  %t = onnx.Transpose %p {perm = array<i64: 0, 1, 3, 2>} : (!p) -> !p
  %o = onnx.MatMul %t, %v : (!p, !q) -> !q
  return %o : !q
}

// Weights that sum to 1 for each key are no attention of queries.
// CHECK-LABEL: @weights_of_keys(
// CHECK-NOT: megactx.attention
func.func @weights_of_keys(%q: !q, %kt: !kt, %v: !q) -> !q {
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = 2 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// Probabilities whose heads come first, and those of heads that share keys and values, which are rows of one product.
// CHECK-LABEL: @heads_first(
// CHECK: megactx.attention
// CHECK-LABEL: @heads_as_rows(
// CHECK: megactx.attention {{.*}} -> tensor<?x2x?x8xf32>
func.func @heads_first(%q: tensor<2x?x?x8xf32>, %kt: tensor<2x?x8x?xf32>, %v: !q) -> !q {
  %s = onnx.MatMul %q, %kt : (tensor<2x?x?x8xf32>, tensor<2x?x8x?xf32>) -> tensor<2x?x?x?xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<2x?x?x?xf32>) -> tensor<2x?x?x?xf32>
  %t = onnx.Transpose %p {perm = array<i64: 1, 0, 2, 3>} : (tensor<2x?x?x?xf32>) -> !p
  %o = onnx.MatMul %t, %v : (!p, !q) -> !q
  return %o : !q
}
func.func @heads_as_rows(%q: !q, %kt: tensor<?x1x8x?xf32>, %v: tensor<?x1x?x8xf32>) -> tensor<?x?x2x8xf32> {
  %s = onnx.MatMul %q, %kt : (!q, tensor<?x1x8x?xf32>) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %t = onnx.Transpose %p {perm = array<i64: 0, 2, 1, 3>} : (!p) -> tensor<?x?x2x?xf32>
  %o = onnx.MatMul %t, %v : (tensor<?x?x2x?xf32>, tensor<?x1x?x8xf32>) -> tensor<?x?x2x8xf32>
  return %o : tensor<?x?x2x8xf32>
}

// A projection of heads (CaiT's talking heads) is no product of queries and keys, and stays as it is.
// CHECK-LABEL: @talking_heads(
// CHECK: %[[S:.+]] = onnx.MatMul %arg0, %arg1
// CHECK: %[[H:.+]] = onnx.Transpose %[[S]]
// CHECK: %[[M:.+]] = onnx.MatMul %[[H]]
// CHECK: %[[T:.+]] = onnx.Transpose %[[M]]
// CHECK: onnx.Softmax %[[T]] {axis = -1 : i64}
func.func @talking_heads(%q: !q, %kt: !kt, %v: !q) -> !q {
  %w = onnx.initializer {value = dense<0.5> : tensor<2x2xf32>} : tensor<2x2xf32>
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %h = onnx.Transpose %s {perm = array<i64: 0, 2, 3, 1>} : (!p) -> !ij
  %m = onnx.MatMul %h, %w : (!ij, tensor<2x2xf32>) -> !ij
  %t = onnx.Transpose %m {perm = array<i64: 0, 3, 1, 2>} : (!ij) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}
