// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s

// Masks of which every element is known because what moves it is.

!q = tensor<?x2x4x8xf32>
!kt = tensor<?x2x8x4xf32>
!p = tensor<?x2x4x4xf32>
!qn = tensor<?x2x?x8xf32>
!ktn = tensor<?x2x8x?xf32>
!pn = tensor<?x2x?x?xf32>
!one = tensor<1xi64>

// Positions that were computed when the model was exported.
// CHECK-LABEL: @positions_in_constants
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<causal>)
func.func @positions_in_constants(%q: !q, %v: !q) -> !q {
  %rows = onnx.initializer {value = dense<[[0], [1], [2], [3]]> : tensor<4x1xi64>} : tensor<4x1xi64>
  %columns = onnx.initializer {value = dense<[0, 1, 2, 3]> : tensor<4xi64>} : tensor<4xi64>
  %mask = onnx.Greater %columns, %rows : (tensor<4xi64>, tensor<4x1xi64>) -> tensor<4x4xi1>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %fill = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %t = onnx.Where %mask, %fill, %s : (tensor<4x4xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// Positions as the places of ones, PyTorch's arange in as_strided.
// CHECK-LABEL: @positions_counted_by_nonzero
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<causal>)
func.func @positions_counted_by_nonzero(%q: !qn {onnx.dims = ["b", "", "n", ""]}, %v: !qn {onnx.dims = ["b", "", "n", ""]}) -> !qn {
  %0 = onnx.initializer {value = dense<0> : !one} : !one
  %1 = onnx.initializer {value = dense<1> : !one} : !one
  %2 = onnx.initializer {value = dense<2> : !one} : !one
  %shape = onnx.Shape %q : (!qn) -> tensor<4xi64>
  %n = onnx.Gather %shape, %2 {axis = 0 : i64} : (tensor<4xi64>, !one) -> !one
  %ones = onnx.ConstantOfShape %n {value = dense<1> : !one} : (!one) -> tensor<?xi64>
  %places = onnx.NonZero %ones : (tensor<?xi64>) -> tensor<1x?xi64>
  %columns = onnx.Squeeze %places, %0 : (tensor<1x?xi64>, !one) -> tensor<?xi64>
  %rows = onnx.Unsqueeze %columns, %1 : (tensor<?xi64>, !one) -> tensor<?x1xi64>
  %mask = onnx.Greater %columns, %rows : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!qn) -> !ktn
  %s = onnx.MatMul %q, %kt : (!qn, !ktn) -> !pn
  %fill = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %t = onnx.Where %mask, %fill, %s : (tensor<?x?xi1>, tensor<f32>, !pn) -> !pn
  %p = onnx.Softmax %t {axis = -1 : i64} : (!pn) -> !pn
  %o = onnx.MatMul %p, %v : (!pn, !qn) -> !qn
  return %o : !qn
}

// A mask to which a key is added that nobody sees.
// CHECK-LABEL: @padded
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<global_keys<first = 3>>)
func.func @padded(%q: !q, %v: !q) -> !q {
  %all = onnx.initializer {value = dense<0.0> : tensor<4x3xf32>} : tensor<4x3xf32>
  %sides = onnx.initializer {value = dense<[0, 0, 0, 1]> : tensor<4xi64>} : tensor<4xi64>
  %least = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %mask = onnx.Pad %all, %sides, %least {mode = "constant"} : (tensor<4x3xf32>, tensor<4xi64>, tensor<f32>) -> tensor<4x4xf32>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %mask : (!p, tensor<4x4xf32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A triangle that stands on its head, turned over.
// CHECK-LABEL: @other_diagonal
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<causal>)
func.func @other_diagonal(%q: !q, %v: !q) -> !q {
  %corner = onnx.initializer {value = dense<[[true, true, true, true], [true, true, true, false], [true, true, false, false], [true, false, false, false]]> : tensor<4x4xi1>} : tensor<4x4xi1>
  %0 = onnx.initializer {value = dense<0> : !one} : !one
  %last = onnx.initializer {value = dense<-1> : !one} : !one
  %least = onnx.initializer {value = dense<-9223372036854775807> : !one} : !one
  %tril = onnx.Slice %corner, %last, %least, %0, %last : (tensor<4x4xi1>, !one, !one, !one, !one) -> tensor<4x4xi1>
  %mask = onnx.Not %tril : (tensor<4x4xi1>) -> tensor<4x4xi1>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %fill = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %t = onnx.Where %mask, %fill, %s : (tensor<4x4xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A product of a column of ones with a row.
// CHECK-LABEL: @product_of_one
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<global_keys<first = 3>>)
func.func @product_of_one(%q: !q, %v: !q) -> !q {
  %ones = onnx.initializer {value = dense<1.0> : tensor<4x1xf32>} : tensor<4x1xf32>
  %keys = onnx.initializer {value = dense<[[0., 0., 0., 0xFF800000]]> : tensor<1x4xf32>} : tensor<1x4xf32>
  %mask = onnx.MatMul %ones, %keys : (tensor<4x1xf32>, tensor<1x4xf32>) -> tensor<4x4xf32>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %mask : (!p, tensor<4x4xf32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// Indices -1 and 0: the last place and the first, no two that follow one another.
// CHECK-LABEL: @indices_around_zero
// CHECK: megactx.source {{.*}} bias({{.*}}) pattern(#megactx.pattern<dense>)
func.func @indices_around_zero(%q: !q, %v: !q) -> !q {
  %none = onnx.initializer {value = dense<0.0> : tensor<4xf32>} : tensor<4xf32>
  %least = onnx.initializer {value = dense<0xFF800000> : tensor<2xf32>} : tensor<2xf32>
  %places = onnx.initializer {value = dense<[[-1], [0]]> : tensor<2x1xi64>} : tensor<2x1xi64>
  %mask = onnx.ScatterND %none, %places, %least : (tensor<4xf32>, tensor<2x1xi64>, tensor<2xf32>) -> tensor<4xf32>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %mask : (!p, tensor<4xf32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}
