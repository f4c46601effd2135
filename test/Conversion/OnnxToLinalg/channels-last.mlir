// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg=channels-last=true --canonicalize --cse | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg --canonicalize --cse | FileCheck %s --check-prefix=FIRST

// One way there, one back; a product has its weights turned.
// CHECK-DAG: #[[THERE:.+]] = affine_map<(d0, d1, d2, d3) -> (d0, d3, d1, d2)>
// CHECK-DAG: #[[BACK:.+]] = affine_map<(d0, d1, d2, d3) -> (d0, d2, d3, d1)>
// CHECK-LABEL: @main
// CHECK: linalg.generic {indexing_maps = [#[[THERE]]
// CHECK: megactx.convolution {{.*}} groups(1) strides [2, 2] dilations [1, 1] pads [1, 1] {{.*}} -> tensor<1x4x5x8xf32>
// CHECK: megactx.convolution {{.*}} groups(8) {{.*}} -> tensor<1x4x5x8xf32>
// CHECK: arith.addf
// CHECK-NOT: megactx.convolution
// CHECK: arith.mulf
// CHECK: linalg.generic {indexing_maps = [#[[BACK]]
// FIRST-LABEL: @main
// FIRST-NOT: megactx.convolution
// FIRST: tensor.pad
module attributes {onnx.model} {
func.func @main(%x: tensor<1x3x8x9xf32>, %w: tensor<8x3x3x3xf32>, %d: tensor<8x1x3x3xf32>, %m: tensor<6x8x1x1xf32>) -> tensor<1x6x4x5xf32> {
  %0 = "onnx.Conv"(%x, %w) {pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 2, 2>} : (tensor<1x3x8x9xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x4x5xf32>
  %1 = "onnx.Conv"(%0, %d) {group = 8 : si64, pads = array<i64: 1, 1, 1, 1>} : (tensor<1x8x4x5xf32>, tensor<8x1x3x3xf32>) -> tensor<1x8x4x5xf32>
  %2 = "onnx.Add"(%0, %1) : (tensor<1x8x4x5xf32>, tensor<1x8x4x5xf32>) -> tensor<1x8x4x5xf32>
  %3 = "onnx.Conv"(%2, %m) : (tensor<1x8x4x5xf32>, tensor<6x8x1x1xf32>) -> tensor<1x6x4x5xf32>
  return %3 : tensor<1x6x4x5xf32>
}
}
