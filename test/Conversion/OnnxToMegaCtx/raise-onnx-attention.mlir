// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s

!q = tensor<?x2x?x8xf32>
!kt = tensor<?x2x8x?xf32>
!p = tensor<?x2x?x?xf32>

// CHECK-LABEL: @scale_after_product
// CHECK: megactx.attention {{.*}} {scale = 5.000000e-01 : f32}
// CHECK-NOT: onnx.Softmax
func.func @scale_after_product(%q: !q, %k: !q, %v: !q) -> !q {
  %c = onnx.initializer {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Mul %s, %c : (!p, tensor<f32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// CHECK-LABEL: @softmax_over_queries_is_left
// CHECK: onnx.Softmax
func.func @softmax_over_queries_is_left(%q: !q, %k: !q, %v: !q) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = 2 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}
