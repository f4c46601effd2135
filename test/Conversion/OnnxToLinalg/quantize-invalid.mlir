// RUN: not megactx-opt %s --split-input-file --megactx-convert-onnx-to-linalg 2>&1 | FileCheck %s --implicit-check-not=error:

// CHECK: error:{{.*}}cannot lower node 'n' (com.microsoft.MatMulNBits): expected numbers of 4 or 8 bits, but got 3
func.func @bits(%x: tensor<2x32xf32>, %w: tensor<8x1x12xui8>, %s: tensor<8xf32>) -> tensor<2x8xf32> {
  %0 = onnx.com.microsoft.MatMulNBits %x, %w, %s {K = 32 : i64, N = 8 : i64, bits = 3 : i64, block_size = 32 : i64} : (tensor<2x32xf32>, tensor<8x1x12xui8>, tensor<8xf32>) -> tensor<2x8xf32> loc("n")
  return %0 : tensor<2x8xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (com.microsoft.MatMulNBits): no lowering of weights in another order
func.func @order(%x: tensor<2x32xf32>, %w: tensor<8x1x16xui8>, %s: tensor<8xf32>, %g: tensor<32xi32>) -> tensor<2x8xf32> {
  %none = onnx.none
  %0 = onnx.com.microsoft.MatMulNBits %x, %w, %s, %none, %g {K = 32 : i64, N = 8 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<2x32xf32>, tensor<8x1x16xui8>, tensor<8xf32>, none, tensor<32xi32>) -> tensor<2x8xf32> loc("n")
  return %0 : tensor<2x8xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (com.microsoft.MatMulNBits): expected 128 bytes of weights, but got 64
func.func @size(%x: tensor<2x32xf32>, %w: tensor<8x1x8xui8>, %s: tensor<8xf32>) -> tensor<2x8xf32> {
  %0 = onnx.com.microsoft.MatMulNBits %x, %w, %s {K = 32 : i64, N = 8 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<2x32xf32>, tensor<8x1x8xui8>, tensor<8xf32>) -> tensor<2x8xf32> loc("n")
  return %0 : tensor<2x8xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (com.microsoft.MatMulNBits): expected 8 bytes of zero points, but got 9
func.func @zeros(%x: tensor<2x32xf32>, %w: tensor<8x1x16xui8>, %s: tensor<8xf32>, %z: tensor<9xui8>) -> tensor<2x8xf32> {
  %0 = onnx.com.microsoft.MatMulNBits %x, %w, %s, %z {K = 32 : i64, N = 8 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<2x32xf32>, tensor<8x1x16xui8>, tensor<8xf32>, tensor<9xui8>) -> tensor<2x8xf32> loc("n")
  return %0 : tensor<2x8xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (DequantizeLinear): no lowering from 'i64' to 'f32'
func.func @wide(%x: tensor<4xi64>, %s: tensor<f32>) -> tensor<4xf32> {
  %0 = "onnx.DequantizeLinear"(%x, %s) : (tensor<4xi64>, tensor<f32>) -> tensor<4xf32> loc("n")
  return %0 : tensor<4xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (QuantizeLinear): axis is out of range
func.func @axis(%x: tensor<4xf32>, %s: tensor<4xf32>) -> tensor<4xui8> {
  %0 = "onnx.QuantizeLinear"(%x, %s) {axis = 3 : i64} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xui8> loc("n")
  return %0 : tensor<4xui8>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (MatMulInteger): expected matrices of int8 or uint8
func.func @vector(%x: tensor<4xi8>, %w: tensor<4x3xi8>) -> tensor<3xi32> {
  %0 = "onnx.MatMulInteger"(%x, %w) : (tensor<4xi8>, tensor<4x3xi8>) -> tensor<3xi32> loc("n")
  return %0 : tensor<3xi32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (com.microsoft.MatMulNBits): expected rows of numbers
func.func @f8_rows(%x: tensor<2x32xf8E4M3FN>, %w: tensor<8x1x16xui8>, %s: tensor<8xf32>) -> tensor<2x8xf8E4M3FN> {
  %0 = onnx.com.microsoft.MatMulNBits %x, %w, %s {K = 32 : i64, N = 8 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<2x32xf8E4M3FN>, tensor<8x1x16xui8>, tensor<8xf32>) -> tensor<2x8xf8E4M3FN> loc("n")
  return %0 : tensor<2x8xf8E4M3FN>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (com.microsoft.MatMulNBits): no lowering of numbers of type 'ui8' with scales of type 'f8E4M3FN'
func.func @f8_scales_of_blocks(%x: tensor<2x32xf32>, %w: tensor<8x1x16xui8>, %s: tensor<8xf8E4M3FN>) -> tensor<2x8xf32> {
  %0 = onnx.com.microsoft.MatMulNBits %x, %w, %s {K = 32 : i64, N = 8 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<2x32xf32>, tensor<8x1x16xui8>, tensor<8xf8E4M3FN>) -> tensor<2x8xf32> loc("n")
  return %0 : tensor<2x8xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (com.microsoft.MatMulNBits): no lowering of zero points of type 'f8E4M3FN'
func.func @f8_zeros_of_blocks(%x: tensor<2x32xf32>, %w: tensor<8x1x16xui8>, %s: tensor<8xf32>, %z: tensor<8xf8E4M3FN>) -> tensor<2x8xf32> {
  %0 = onnx.com.microsoft.MatMulNBits %x, %w, %s, %z {K = 32 : i64, N = 8 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<2x32xf32>, tensor<8x1x16xui8>, tensor<8xf32>, tensor<8xf8E4M3FN>) -> tensor<2x8xf32> loc("n")
  return %0 : tensor<2x8xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (DequantizeLinear): no lowering of scales or zero points of type 'f8E8M0FNU'
func.func @f8_scale(%x: tensor<4xi8>, %s: tensor<f8E8M0FNU>) -> tensor<4xf32> {
  %0 = "onnx.DequantizeLinear"(%x, %s) : (tensor<4xi8>, tensor<f8E8M0FNU>) -> tensor<4xf32> loc("n")
  return %0 : tensor<4xf32>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (DequantizeLinear): no lowering from 'i8' to 'f8E5M2'
func.func @to_f8(%x: tensor<4xi8>, %s: tensor<f8E5M2>) -> tensor<4xf8E5M2> {
  %0 = "onnx.DequantizeLinear"(%x, %s) : (tensor<4xi8>, tensor<f8E5M2>) -> tensor<4xf8E5M2> loc("n")
  return %0 : tensor<4xf8E5M2>
}

// -----

// CHECK: error:{{.*}}cannot lower node 'n' (QuantizeLinear): no lowering from 'f8E5M2' to 'ui8'
func.func @from_f8(%x: tensor<4xf8E5M2>, %s: tensor<f32>) -> tensor<4xui8> {
  %0 = "onnx.QuantizeLinear"(%x, %s) : (tensor<4xf8E5M2>, tensor<f32>) -> tensor<4xui8> loc("n")
  return %0 : tensor<4xui8>
}

// -----

// Not even where the axis would broadcast to them.
// CHECK: error:{{.*}}cannot lower node 'n' (DequantizeLinear): expected scales or zero points for 1 entries of axis 1, but got 5
func.func @scales_of_another_size(%x: tensor<4x1xi8>, %s: tensor<5xf32>) -> tensor<4x1xf32> {
  %0 = "onnx.DequantizeLinear"(%x, %s) {axis = 1 : i64} : (tensor<4x1xi8>, tensor<5xf32>) -> tensor<4x1xf32> loc("n")
  return %0 : tensor<4x1xf32>
}
