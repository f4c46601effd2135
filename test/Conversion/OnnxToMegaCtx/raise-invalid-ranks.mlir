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
