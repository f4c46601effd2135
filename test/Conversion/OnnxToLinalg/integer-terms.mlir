// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg=integer-terms | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg=integer-terms --cse | FileCheck %s --check-prefix=SHARED
// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg | FileCheck %s --check-prefix=REALS

// Rows of 16 bits meet four pairs of each word's eight numbers where rows may be
// rounded to 8 bits; zero points are those of all numbers, and come after them.
// CHECK-LABEL: @nbits
// CHECK: arith.constant dense_resource<w> : tensor<2x4x4xi32>
// CHECK: math.roundeven
// CHECK: linalg.generic {{.*}}"reduction"]} ins({{.*}} : {{.*}}tensor<1x2x16xi32>, tensor<1x2x4x{{.*}}f32>
// CHECK-COUNT-4: megactx.dot_pairs
// CHECK-NOT: dot_pairs
// CHECK: arith.subi
// CHECK: arith.sitofp
// REALS-LABEL: @nbits
// REALS-NOT: dot_pairs
func.func @nbits(%x: tensor<1x128xf32>) -> tensor<1x2xf32> {
  %w = onnx.initializer {value = dense_resource<w> : tensor<2x4x16xui8>} : tensor<2x4x16xui8>
  %s = onnx.initializer {value = dense<[0.5, 1.0, 2.0, 4.0, 0.5, 1.0, 2.0, 4.0]> : tensor<8xf32>} : tensor<8xf32>
  %y = "onnx.com.microsoft.MatMulNBits"(%x, %w, %s) {K = 128 : i64, N = 2 : i64, bits = 4 : i64, block_size = 32 : i64, accuracy_level = 4 : i64}
      : (tensor<1x128xf32>, tensor<2x4x16xui8>, tensor<8xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// More rows meet all of a block's numbers in one op. Their largest is found along
// one loop, which is in vectors.
// CHECK-LABEL: @rows
// CHECK: math.absf
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "reduction"]} ins({{.*}} : tensor<?x4x32xf32>)
// CHECK: arith.maximumf
// CHECK: math.roundeven
// CHECK: scf.if
// CHECK-NOT: math.roundeven
// CHECK: megactx.dot_pairs
// CHECK: } else {
// CHECK: megactx.packed_product {{.*}} bits(4) outs({{.*}} : (tensor<?x16x4xi32>, tensor<?x4xf32>, tensor<?x4xi32>, tensor<2x16xi32>, tensor<2x4xf32>, tensor<?x2xf32>)
// CHECK-NOT: scf.if
// REALS-LABEL: @rows
// REALS-NOT: megactx.packed_product
func.func @rows(%x: tensor<?x128xf32>) -> tensor<?x2xf32> {
  %w = onnx.initializer {value = dense_resource<w> : tensor<2x4x16xui8>} : tensor<2x4x16xui8>
  %s = onnx.initializer {value = dense<[0.5, 1.0, 2.0, 4.0, 0.5, 1.0, 2.0, 4.0]> : tensor<8xf32>} : tensor<8xf32>
  %y = "onnx.com.microsoft.MatMulNBits"(%x, %w, %s) {K = 128 : i64, N = 2 : i64, bits = 4 : i64, block_size = 32 : i64, accuracy_level = 4 : i64}
      : (tensor<?x128xf32>, tensor<2x4x16xui8>, tensor<8xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Products of the same rows, as of queries and keys, share their integers.
// CHECK-LABEL: @same_rows
// SHARED-LABEL: @same_rows
// SHARED-COUNT-2: math.roundeven
// SHARED-NOT: math.roundeven
// SHARED: megactx.packed_product
// SHARED-NOT: math.roundeven
// SHARED: megactx.packed_product
// SHARED-LABEL: @long_blocks
func.func @same_rows(%x: tensor<?x128xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = onnx.initializer {value = dense_resource<w> : tensor<2x4x16xui8>} : tensor<2x4x16xui8>
  %s = onnx.initializer {value = dense<[0.5, 1.0, 2.0, 4.0, 0.5, 1.0, 2.0, 4.0]> : tensor<8xf32>} : tensor<8xf32>
  %t = onnx.initializer {value = dense<[0.5, 1.0, 2.0, 4.0, 0.5, 1.0, 2.0, 8.0]> : tensor<8xf32>} : tensor<8xf32>
  %y = "onnx.com.microsoft.MatMulNBits"(%x, %w, %s) {K = 128 : i64, N = 2 : i64, bits = 4 : i64, block_size = 32 : i64, accuracy_level = 4 : i64}
      : (tensor<?x128xf32>, tensor<2x4x16xui8>, tensor<8xf32>) -> tensor<?x2xf32>
  %z = "onnx.com.microsoft.MatMulNBits"(%x, %w, %t) {K = 128 : i64, N = 2 : i64, bits = 4 : i64, block_size = 32 : i64, accuracy_level = 4 : i64}
      : (tensor<?x128xf32>, tensor<2x4x16xui8>, tensor<8xf32>) -> tensor<?x2xf32>
  return %y, %z : tensor<?x2xf32>, tensor<?x2xf32>
}

// Sums of 32 bits have no more than 256 numbers of 8: two chains to a block.
// CHECK-LABEL: @long_blocks
// CHECK: megactx.packed_product {{.*}} bits(8) outs({{.*}} : (tensor<3x128x2xi32>, tensor<3x2xf32>, tensor<3x2xi32>, tensor<1x128xi32>, tensor<1x1xf32>, tensor<3x1xf32>)
func.func @long_blocks(%x: tensor<3x512xf32>) -> tensor<3x1xf32> {
  %w = onnx.initializer {value = dense_resource<w8> : tensor<1x1x512xui8>} : tensor<1x1x512xui8>
  %s = onnx.initializer {value = dense<0.5> : tensor<1xf32>} : tensor<1xf32>
  %y = "onnx.com.microsoft.MatMulNBits"(%x, %w, %s) {K = 512 : i64, N = 1 : i64, bits = 8 : i64, block_size = 512 : i64, accuracy_level = 4 : i64}
      : (tensor<3x512xf32>, tensor<1x1x512xui8>, tensor<1xf32>) -> tensor<3x1xf32>
  return %y : tensor<3x1xf32>
}

// Zero points of constants are bytes, whose rows were whole bytes before. (Their
// contents are at the end.)
// CHECK-LABEL: @zero_points
// CHECK: arith.constant dense_resource<zero_points> : tensor<2x3xi8>
// CHECK: arith.extui {{.*}} : i8 to i32
// REALS-LABEL: @zero_points
// REALS: arith.constant dense_resource<zero_points> : tensor<2x3xi8>
func.func @zero_points(%x: tensor<3x96xf32>) -> tensor<3x2xf32> {
  %w = onnx.initializer {value = dense_resource<w3> : tensor<2x3x16xui8>} : tensor<2x3x16xui8>
  %s = onnx.initializer {value = dense<[0.5, 1.0, 2.0, 0.5, 1.0, 2.0]> : tensor<6xf32>} : tensor<6xf32>
  %z = onnx.initializer {value = dense<[0x21, 0x03, 0xe4, 0x0f]> : tensor<4xui8>} : tensor<4xui8>
  %y = "onnx.com.microsoft.MatMulNBits"(%x, %w, %s, %z) {K = 96 : i64, N = 2 : i64, bits = 4 : i64, block_size = 32 : i64, accuracy_level = 4 : i64}
      : (tensor<3x96xf32>, tensor<2x3x16xui8>, tensor<6xf32>, tensor<4xui8>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// CHECK: zero_points: "0x01000000010203040E0F"

{-#
  dialect_resources: {
    builtin: {
      w: "0x0400000000112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
      w3: "0x04000000001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677",
      w8: "0x040000000011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677001122334455667700112233445566770011223344556677"
    }
  }
#-}
