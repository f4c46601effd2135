// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg --canonicalize --cse --split-input-file | FileCheck %s

// Bytes by bytes, as the file has them; sums of the weights' columns stand for the activations' zero point.
// CHECK-LABEL: @integers
// CHECK-SAME: %[[X:.*]]: tensor<?x4xui8>, %[[P:.*]]: tensor<ui8>
// CHECK-DAG: %[[W:.*]] = arith.constant dense_resource<w> : tensor<4x2xi8>
// CHECK-DAG: %[[ROWS:.*]] = tensor.expand_shape %[[X]]
// CHECK-DAG: %[[COLUMNS:.*]] = tensor.expand_shape %[[W]]
// CHECK: %[[PRODUCT:.*]] = linalg.generic {{.*}} ins(%[[ROWS]], %[[COLUMNS]] : tensor<1x?x4xui8>, tensor<1x4x2xi8>) outs(%{{.*}} : tensor<1x?x2xi32>)
// CHECK: arith.extui
// CHECK: arith.extsi
// CHECK: arith.muli
// CHECK: arith.addi
// CHECK: linalg.generic {{.*}} iterator_types = [{{.*}}"reduction"{{.*}}]} ins(%{{.*}} : tensor<4x2xi32>)
// CHECK: arith.subi
// CHECK-NOT: reduction
// CHECK: return
module attributes {onnx.model} {
func.func @integers(%x: tensor<?x4xui8>, %p: tensor<ui8>) -> tensor<?x2xi32> {
  %w = onnx.initializer {value = dense_resource<w> : tensor<4x2xi8>} : tensor<4x2xi8>
  %y = "onnx.MatMulInteger"(%x, %w, %p) : (tensor<?x4xui8>, tensor<4x2xi8>, tensor<ui8>) -> tensor<?x2xi32>
  return %y : tensor<?x2xi32>
}
}

{-#
  dialect_resources: {
    builtin: { w: "0x01000000FF01FE02FD03FC04" }
  }
#-}

// -----

// Unsigned weights become those 128 less at once, and a zero point of 128 none.
// CHECK-LABEL: @unsigned_weights
// CHECK-DAG: %[[W:.*]] = arith.constant dense_resource<turned_weight> : tensor<4x2xi8>
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1x?x4xui8>, tensor<1x4x2xi8>)
// CHECK-NOT: linalg.generic
// CHECK: return
// CHECK: turned_weight: "0x{{[0-9]+}}7F817E827D837C84"
module attributes {onnx.model} {
func.func @unsigned_weights(%x: tensor<?x4xui8>) -> tensor<?x2xi32> {
  %w = onnx.initializer {value = dense_resource<w> : tensor<4x2xui8>} : tensor<4x2xui8>
  %p = onnx.initializer {value = dense<0> : tensor<ui8>} : tensor<ui8>
  %q = onnx.initializer {value = dense<128> : tensor<ui8>} : tensor<ui8>
  %y = "onnx.MatMulInteger"(%x, %w, %p, %q) : (tensor<?x4xui8>, tensor<4x2xui8>, tensor<ui8>, tensor<ui8>) -> tensor<?x2xi32>
  return %y : tensor<?x2xi32>
}
}

{-#
  dialect_resources: {
    builtin: { w: "0x01000000FF01FE02FD03FC04" }
  }
#-}

// -----

// What was widened is multiplied as it was; the scales come after.
// CHECK-LABEL: @widened
// CHECK: %[[PRODUCT:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1x?x4xui8>, tensor<1x4x2xi8>) outs(%{{.*}} : tensor<1x?x2xi32>)
// CHECK: %[[SUM:.*]] = arith.sitofp
// CHECK: %[[SCALED:.*]] = arith.mulf %[[SUM]],
// CHECK: arith.mulf %[[SCALED]],
// CHECK: return
module attributes {onnx.model} {
func.func @widened(%x: tensor<?x4xui8>, %s: tensor<f32>, %t: tensor<2xf32>) -> tensor<?x2xf32> {
  %w = onnx.initializer {value = dense_resource<w> : tensor<4x2xi8>} : tensor<4x2xi8>
  %a = "onnx.DequantizeLinear"(%x, %s) : (tensor<?x4xui8>, tensor<f32>) -> tensor<?x4xf32>
  %b = "onnx.DequantizeLinear"(%w, %t) {axis = 1 : i64} : (tensor<4x2xi8>, tensor<2xf32>) -> tensor<4x2xf32>
  %y = onnx.MatMul %a, %b : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

{-#
  dialect_resources: {
    builtin: { w: "0x01000000FF01FE02FD03FC04" }
  }
#-}

// -----

// Scales of terms are in the sums.
// CHECK-LABEL: @widened_by_terms
// CHECK-NOT: xi32>
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1x?x4xf32>, tensor<1x4x2xf32>)
// CHECK: return
module attributes {onnx.model} {
func.func @widened_by_terms(%x: tensor<?x4xui8>, %s: tensor<4xf32>, %t: tensor<2xf32>, %w: tensor<4x2xi8>) -> tensor<?x2xf32> {
  %a = "onnx.DequantizeLinear"(%x, %s) {axis = 1 : i64} : (tensor<?x4xui8>, tensor<4xf32>) -> tensor<?x4xf32>
  %b = "onnx.DequantizeLinear"(%w, %t) {axis = 1 : i64} : (tensor<4x2xi8>, tensor<2xf32>) -> tensor<4x2xf32>
  %y = onnx.MatMul %a, %b : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

// Zero points of terms are in the sums, whatever there is of scales.
// CHECK-LABEL: @widened_by_zero_points_of_terms
// CHECK-NOT: xi32>
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1x?x4xf32>, tensor<1x4x4xf32>)
// CHECK: return
module attributes {onnx.model} {
func.func @widened_by_zero_points_of_terms(%x: tensor<?x4xui8>, %s: tensor<f32>, %z: tensor<4xi8>, %w: tensor<4x4xi8>) -> tensor<?x4xf32> {
  %a = "onnx.DequantizeLinear"(%x, %s) : (tensor<?x4xui8>, tensor<f32>) -> tensor<?x4xf32>
  %b = "onnx.DequantizeLinear"(%w, %s, %z) {axis = 0 : i64} : (tensor<4x4xi8>, tensor<f32>, tensor<4xi8>) -> tensor<4x4xf32>
  %y = onnx.MatMul %a, %b : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
}
