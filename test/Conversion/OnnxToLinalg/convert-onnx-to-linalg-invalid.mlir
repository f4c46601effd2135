// RUN: not megactx-opt %s --megactx-convert-onnx-to-linalg 2>&1 | FileCheck %s --implicit-check-not=error:

// Every operator without a lowering once, with the first node.
// CHECK: error:{{.*}}: no lowering for com.microsoft.Sampling (node 'first' and 1 more)
// CHECK: error:{{.*}}: no lowering for NonMaxSuppression (node 'third')
module attributes {onnx.model} {
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "onnx.com.microsoft.Sampling"(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("first")
  %1 = "onnx.com.microsoft.Sampling"(%0) : (tensor<4xf32>) -> tensor<4xf32> loc("second")
  %2 = "onnx.NonMaxSuppression"(%1) : (tensor<4xf32>) -> tensor<4xf32> loc("third")
  %3 = "onnx.Add"(%1, %2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %3 : tensor<4xf32>
}
}
