// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg --canonicalize --cse --split-input-file | FileCheck %s

// One known index is a slice.
// CHECK-LABEL: @layer_of_a_cache
// CHECK: tensor.extract_slice %{{.*}}[1, 0, 0] [1, %{{.*}}, 8] [1, 1, 1] : tensor<2x?x8xf32> to tensor<?x8xf32>
// CHECK-NOT: linalg.generic
// CHECK: return
module attributes {onnx.model} {
func.func @layer_of_a_cache(%cache: tensor<2x?x8xf32>) -> tensor<?x8xf32> {
  %i = "onnx.Constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %0 = "onnx.Gather"(%cache, %i) {axis = 0 : si64} : (tensor<2x?x8xf32>, tensor<i64>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
}

// -----

// From the end of a dim that may be empty, kept as a dim of 1.
// CHECK-LABEL: @last_row
// CHECK: %[[N:.*]] = tensor.dim
// CHECK: %[[FITS:.*]] = arith.cmpi sge, %[[N]], %c1
// CHECK: cf.assert %[[FITS]], "an index of Gather is out of range"
// CHECK: %[[LAST:.*]] = arith.addi %[[N]], %c-1
// CHECK: tensor.extract_slice %{{.*}}[%[[LAST]], 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<1x8xf32>
// CHECK-NOT: linalg.generic
// CHECK: return
module attributes {onnx.model} {
func.func @last_row(%x: tensor<?x8xf32>) -> tensor<1x8xf32> {
  %i = "onnx.Constant"() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = "onnx.Gather"(%x, %i) {axis = 0 : si64} : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<1x8xf32>
  return %0 : tensor<1x8xf32>
}
}

// -----

// What is always out of range is said by the run, as where it depends on data.
// CHECK-LABEL: @out_of_range
// CHECK: cf.assert %{{.*}}, "an index of Gather is out of range"
// CHECK-NOT: extract_slice
module attributes {onnx.model} {
func.func @out_of_range(%x: tensor<2x8xf32>) -> tensor<8xf32> {
  %i = "onnx.Constant"() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %0 = "onnx.Gather"(%x, %i) {axis = 0 : si64} : (tensor<2x8xf32>, tensor<i64>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}
}

// -----

// Of a cache that has no rows yet.
// CHECK-LABEL: @empty_cache
// CHECK-NOT: extract_slice
// CHECK: return %{{.*}} : tensor<0x8xf32>
module attributes {onnx.model} {
func.func @empty_cache(%cache: tensor<2x0x8xf32>) -> tensor<0x8xf32> {
  %i = "onnx.Constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %0 = "onnx.Gather"(%cache, %i) {axis = 0 : si64} : (tensor<2x0x8xf32>, tensor<i64>) -> tensor<0x8xf32>
  return %0 : tensor<0x8xf32>
}
}
