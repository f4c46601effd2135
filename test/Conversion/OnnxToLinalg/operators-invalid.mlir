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

// -----

// CHECK: error:{{.*}}cannot lower node 'c' (Conv): channels of data and kernel differ: 4 and 3
func.func @conv_of_other_channels(%x: tensor<1x4x8xf32>, %w: tensor<2x3x3xf32>) -> tensor<1x2x6xf32> {
  %0 = "onnx.Conv"(%x, %w) : (tensor<1x4x8xf32>, tensor<2x3x3xf32>) -> tensor<1x2x6xf32> loc("c")
  return %0 : tensor<1x2x6xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'p' (MaxPool): the result has a size of -1
func.func @window_larger_than_data(%x: tensor<1x4x8xf32>) -> tensor<*xf32> {
  %0 = "onnx.MaxPool"(%x) {kernel_shape = array<i64: 10>} : (tensor<1x4x8xf32>) -> tensor<*xf32> loc("p")
  return %0 : tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'p' (AveragePool): expected 1 strides of at least 1
func.func @stride_of_zero(%x: tensor<1x4x8xf32>) -> tensor<*xf32> {
  %0 = "onnx.AveragePool"(%x) {kernel_shape = array<i64: 2>, strides = array<i64: 0>} : (tensor<1x4x8xf32>) -> tensor<*xf32> loc("p")
  return %0 : tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 's' (ScatterND): sizes of updates and what they are for differ: 5 and 4
func.func @updates_of_other_sizes(%x: tensor<4x4xf32>, %i: tensor<2x1xi64>, %u: tensor<2x5xf32>) -> tensor<4x4xf32> {
  %0 = "onnx.ScatterND"(%x, %i, %u) : (tensor<4x4xf32>, tensor<2x1xi64>, tensor<2x5xf32>) -> tensor<4x4xf32> loc("s")
  return %0 : tensor<4x4xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 't' (TopK): the result has a size of -1
func.func @more_than_there_are(%x: tensor<4xf32>) -> tensor<*xf32> {
  %k = "onnx.Constant"() {value = dense<5> : tensor<1xi64>} : () -> tensor<1xi64>
  %0:2 = "onnx.TopK"(%x, %k) : (tensor<4xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>) loc("t")
  return %0#0 : tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'r' (Sqrt): element type 'i32' has no lowering
func.func @root_of_integers(%x: tensor<4xi32>) -> tensor<4xi32> {
  %0 = "onnx.Sqrt"(%x) : (tensor<4xi32>) -> tensor<4xi32> loc("r")
  return %0 : tensor<4xi32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'a' (Add): operands are of 'i32' and of 'i64'
func.func @operands_of_two_types(%x: tensor<4xi32>, %y: tensor<4xi64>) -> tensor<4xi32> {
  %0 = "onnx.Add"(%x, %y) : (tensor<4xi32>, tensor<4xi64>) -> tensor<4xi32> loc("a")
  return %0 : tensor<4xi32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (LayerNormalization): expected operand 1 to have floats and no more dims than the data
func.func @scale_of_more_dims(%x: tensor<4x8xf32>, %s: tensor<1x4x8xf32>) -> tensor<4x8xf32> {
  %0 = "onnx.LayerNormalization"(%x, %s) : (tensor<4x8xf32>, tensor<1x4x8xf32>) -> tensor<4x8xf32> loc("n")
  return %0 : tensor<4x8xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (LpNormalization): expected floats and an axis in range
func.func @axis_out_of_range(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = "onnx.LpNormalization"(%x) {axis = 2} : (tensor<4x8xf32>) -> tensor<4x8xf32> loc("n")
  return %0 : tensor<4x8xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (LpNormalization): expected p of 1 or 2, but got 3
func.func @norm_of_other_power(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = "onnx.LpNormalization"(%x) {p = 3} : (tensor<4x8xf32>) -> tensor<4x8xf32> loc("n")
  return %0 : tensor<4x8xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 's' (Softmax): expected floats and an axis in range
func.func @softmax_of_a_type_without_lowering(%x: tensor<4xf8E4M3FN>) -> tensor<4xf8E4M3FN> {
  %0 = "onnx.Softmax"(%x) : (tensor<4xf8E4M3FN>) -> tensor<4xf8E4M3FN> loc("s")
  return %0 : tensor<4xf8E4M3FN>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'c' (ConstantOfShape): the result has a size of -2
func.func @size_below_zero() -> tensor<*xf32> {
  %s = "onnx.Constant"() {value = dense<-2> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = "onnx.ConstantOfShape"(%s) : (tensor<1xi64>) -> tensor<*xf32> loc("c")
  return %0 : tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'e' (Einsum): sizes of 'j' differ: 4 and 5
func.func @letter_of_two_sizes(%a: tensor<3x4xf32>, %c: tensor<5x6xf32>) -> tensor<*xf32> {
  %0 = "onnx.Einsum"(%a, %c) {equation = "ij,jk->ik"} : (tensor<3x4xf32>, tensor<5x6xf32>) -> tensor<*xf32> loc("e")
  return %0 : tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'm' (MatMul): inner dims differ: 4 and 5
func.func @inner_dims(%a: tensor<3x4xf32>, %c: tensor<5x6xf32>) -> tensor<*xf32> {
  %0 = "onnx.MatMul"(%a, %c) : (tensor<3x4xf32>, tensor<5x6xf32>) -> tensor<*xf32> loc("m")
  return %0 : tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'c' (Concat): sizes of dim 1 of operands differ: 4 and 5
func.func @operands_of_two_sizes(%a: tensor<3x4xf32>, %c: tensor<3x5xf32>) -> tensor<*xf32> {
  %0 = "onnx.Concat"(%a, %c) {axis = 0} : (tensor<3x4xf32>, tensor<3x5xf32>) -> tensor<*xf32> loc("c")
  return %0 : tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 's' (Split): the sum of sizes and the dim differ: 5 and 6
func.func @sizes_that_do_not_add_up(%x: tensor<6xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %s = "onnx.Constant"() {value = dense<[2, 3]> : tensor<2xi64>} : () -> tensor<2xi64>
  %0:2 = "onnx.Split"(%x, %s) : (tensor<6xf32>, tensor<2xi64>) -> (tensor<*xf32>, tensor<*xf32>) loc("s")
  return %0#0, %0#1 : tensor<*xf32>, tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 't' (TopK): expected k to be a scalar
func.func @more_than_one_count(%x: tensor<4xf32>, %k: tensor<2xi64>) -> tensor<*xf32> {
  %0:2 = "onnx.TopK"(%x, %k) : (tensor<4xf32>, tensor<2xi64>) -> (tensor<*xf32>, tensor<*xi64>) loc("t")
  return %0#0 : tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (LayerNormalization): expected operand 1 to have floats and no more dims than the data
func.func @f8_scale(%x: tensor<2x4xf32>, %s: tensor<4xf8E4M3FN>) -> tensor<2x4xf32> {
  %0 = "onnx.LayerNormalization"(%x, %s) : (tensor<2x4xf32>, tensor<4xf8E4M3FN>) -> tensor<2x4xf32> loc("n")
  return %0 : tensor<2x4xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (InstanceNormalization): expected operand 2 to have one float per channel
func.func @f8_bias_per_channel(%x: tensor<2x4x5xf32>, %s: tensor<4xf32>, %c: tensor<4xf8E4M3FN>) -> tensor<2x4x5xf32> {
  %0 = "onnx.InstanceNormalization"(%x, %s, %c) : (tensor<2x4x5xf32>, tensor<4xf32>, tensor<4xf8E4M3FN>) -> tensor<2x4x5xf32> loc("n")
  return %0 : tensor<2x4x5xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (MatMul): no lowering of a product of 'f8E4M3FN' and 'f8E4M3FN'
func.func @product_of_f8(%x: tensor<2x4xf8E4M3FN>, %w: tensor<4x3xf8E4M3FN>) -> tensor<2x3xf8E4M3FN> {
  %0 = "onnx.MatMul"(%x, %w) : (tensor<2x4xf8E4M3FN>, tensor<4x3xf8E4M3FN>) -> tensor<2x3xf8E4M3FN> loc("n")
  return %0 : tensor<2x3xf8E4M3FN>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'c' (Compress): expected an axis in range
func.func @compress_along_no_axis(%x: tensor<3x4xf32>, %c: tensor<3xi1>) -> tensor<*xf32> {
  %0 = "onnx.Compress"(%x, %c) {axis = 2 : i64} : (tensor<3x4xf32>, tensor<3xi1>) -> tensor<*xf32> loc("c")
  return %0 : tensor<*xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'c' (Compress): expected a list of conditions, but its rank is 2
func.func @compress_by_a_matrix(%x: tensor<3x4xf32>, %c: tensor<3x4xi1>) -> tensor<*xf32> {
  %0 = "onnx.Compress"(%x, %c) : (tensor<3x4xf32>, tensor<3x4xi1>) -> tensor<*xf32> loc("c")
  return %0 : tensor<*xf32>
}
