// RUN: not megactx-opt %s --split-input-file --megactx-convert-onnx-to-linalg 2>&1 | FileCheck %s --implicit-check-not=error:

// CHECK: error:{{.*}}cannot lower node 'two' (Relu): output 1 has no lowering
func.func @output_without_a_lowering(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0:2 = "onnx.Relu"(%x) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) loc("two")
  return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'learns' (Dropout): training_mode has no lowering
func.func @dropout_that_trains(%x: tensor<4xf32>, %r: tensor<f32>) -> tensor<4xf32> {
  %on = "onnx.Constant"() {value = dense<true> : tensor<i1>} : () -> tensor<i1>
  %0 = "onnx.Dropout"(%x, %r, %on) : (tensor<4xf32>, tensor<f32>, tensor<i1>) -> tensor<4xf32> loc("learns")
  return %0 : tensor<4xf32>
}
