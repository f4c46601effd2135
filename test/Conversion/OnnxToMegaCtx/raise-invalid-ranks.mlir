// RUN: megactx-opt %s --megactx-raise-onnx-attention --split-input-file | FileCheck %s

// What a file says of its tensors need not be so: such nodes are not followed, and stay for the lowering to refuse.

// CHECK-LABEL: @permutation_of_three
// CHECK: %[[K:.*]] = onnx.Transpose %arg1 {perm = array<i64: 0, 2, 1>}
// CHECK: onnx.Transpose %[[K]]
!t = tensor<1x2x5x8xf32>
module attributes {onnx.model} {
func.func @permutation_of_three(%q: !t, %k: !t, %v: !t) -> !t {
  %kt = "onnx.Transpose"(%k) {perm = array<i64: 0, 2, 1>} : (!t) -> tensor<1x2x8x5xf32>
  %s = "onnx.MatMul"(%q, %kt) : (!t, tensor<1x2x8x5xf32>) -> tensor<1x2x5x5xf32>
  %p = "onnx.Softmax"(%s) {axis = -1 : si64} : (tensor<1x2x5x5xf32>) -> tensor<1x2x5x5xf32>
  %o = "onnx.MatMul"(%p, %v) : (tensor<1x2x5x5xf32>, !t) -> !t
  return %o : !t
}
}

// -----

// CHECK-LABEL: @values_of_any_rank
// CHECK-NOT: megactx.attention
// CHECK: onnx.Softmax
!t = tensor<1x2x5x8xf32>
module attributes {onnx.model} {
func.func @values_of_any_rank(%q: !t, %k: !t, %v: !t) -> tensor<*xf32> {
  %any = "onnx.Unknown"(%v) : (!t) -> tensor<*xf32>
  %kt = "onnx.Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} : (!t) -> tensor<1x2x8x5xf32>
  %s = "onnx.MatMul"(%q, %kt) : (!t, tensor<1x2x8x5xf32>) -> tensor<1x2x5x5xf32>
  %p = "onnx.Softmax"(%s) {axis = -1 : si64} : (tensor<1x2x5x5xf32>) -> tensor<1x2x5x5xf32>
  %o = "onnx.MatMul"(%p, %any) : (tensor<1x2x5x5xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %o : tensor<*xf32>
}
}

// -----

// CHECK-LABEL: @joined_along_no_axis
// CHECK: %[[K:.*]] = onnx.Concat
// CHECK: megactx.source %[[K]], %arg2
!t = tensor<1x2x5x8xf32>
module attributes {onnx.model} {
func.func @joined_along_no_axis(%q: !t, %k: !t, %v: !t) -> !t {
  %both = "onnx.Concat"(%k, %k) {axis = 7 : si64} : (!t, !t) -> !t
  %kt = "onnx.Transpose"(%both) {perm = array<i64: 0, 1, 3, 2>} : (!t) -> tensor<1x2x8x5xf32>
  %s = "onnx.MatMul"(%q, %kt) : (!t, tensor<1x2x8x5xf32>) -> tensor<1x2x5x5xf32>
  %p = "onnx.Softmax"(%s) {axis = -1 : si64} : (tensor<1x2x5x5xf32>) -> tensor<1x2x5x5xf32>
  %o = "onnx.MatMul"(%p, %v) : (tensor<1x2x5x5xf32>, !t) -> !t
  return %o : !t
}
}

// -----

// Of sizes that a run says, too: an order with an axis that is not there, and a slice and a dim of 1 along none.
// CHECK-LABEL: @axes_that_are_not_there
// CHECK: onnx.Transpose %{{.*}} {perm = array<i64: -1, 1, 3, 2>}
!q = tensor<?x2x?x8xf32>
!m = tensor<?x?x?x?xf32>
module attributes {onnx.model} {
func.func @axes_that_are_not_there(%q: !q, %k: !q, %v: !q, %m: tensor<?x?xf32>) -> !q {
  %zero = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %far = onnx.initializer {value = dense<7> : tensor<1xi64>} : tensor<1xi64>
  %axes = onnx.initializer {value = dense<[0, 9]> : tensor<2xi64>} : tensor<2xi64>
  %kt = "onnx.Transpose"(%k) {perm = array<i64: -1, 1, 3, 2>} : (!q) -> tensor<?x2x8x?xf32>
  %cut = "onnx.Slice"(%m, %zero, %far, %far) : (tensor<?x?xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  %mask = "onnx.Unsqueeze"(%cut, %axes) : (tensor<?x?xf32>, tensor<2xi64>) -> !m
  %s = "onnx.MatMul"(%q, %kt) : (!q, tensor<?x2x8x?xf32>) -> tensor<?x2x?x?xf32>
  %t = "onnx.Add"(%s, %mask) : (tensor<?x2x?x?xf32>, !m) -> tensor<?x2x?x?xf32>
  %p = "onnx.Softmax"(%t) {axis = -1 : si64} : (tensor<?x2x?x?xf32>) -> tensor<?x2x?x?xf32>
  %o = "onnx.MatMul"(%p, %v) : (tensor<?x2x?x?xf32>, !q) -> !q
  return %o : !q
}
}
