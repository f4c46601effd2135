// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// Arithmetic on shapes becomes index operations: no tensor of sizes is left.
// CHECK-LABEL: @main
// CHECK-NOT: onnx.
// CHECK: tensor.dim
// CHECK-NOT: tensor<2xi64>
// CHECK: linalg.generic
// CHECK: arith.addf
// CHECK: return
module attributes {onnx.model} {
func.func @main(%x: tensor<?x4xf32>, %y: tensor<4xf32>) -> tensor<?x4xf32> {
  %0 = "onnx.Add"(%x, %y) : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %1 = "onnx.Shape"(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %2 = "onnx.Reshape"(%0, %1) : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  return %2 : tensor<?x4xf32>
}
}
