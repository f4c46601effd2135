// RUN: megactx-opt %s --megactx-caches-in-place --split-input-file --verify-diagnostics | FileCheck %s

!cache = tensor<2x3x?x8xf32>
!rows = tensor<2x3x?x8xf32>

// Rows of each entry from its place on.
// CHECK-LABEL: @main
// CHECK-SAME: [[CACHE:%[a-z0-9]+]]: tensor<2x3x?x8xf32>, [[ROWS:%[a-z0-9]+]]: tensor<2x3x?x8xf32>, [[PLACES:%[a-z0-9]+]]: tensor<2xi64>)
// CHECK-SAME: -> (tensor<2x3x?x8xf32>, tensor<2x3x?x8xf32> {megactx.updates = 0 : i64})
// CHECK: [[ALL:%.*]] = scf.for [[ENTRY:%.*]] = %{{.*}} iter_args([[SO:%.*]] = [[CACHE]])
// CHECK: [[GIVEN:%.*]] = tensor.extract [[PLACES]]{{\[}}[[ENTRY]]]
// CHECK: [[START:%.*]] = arith.index_cast [[GIVEN]]
// CHECK: cf.assert {{.*}}rows of a cache are written to a negative place
// CHECK: cf.assert {{.*}}has no room for all tokens
// CHECK: [[PART:%.*]] = tensor.extract_slice [[ROWS]]{{\[}}[[ENTRY]], 0, 0, 0] [1, 3, %{{.*}}, 8]
// CHECK: tensor.insert_slice [[PART]] into [[SO]]{{\[}}[[ENTRY]], 0, [[START]], 0] [1, 3, %{{.*}}, 8]
// CHECK: onnx.Exp [[ALL]]
// CHECK: return %{{.*}}, [[ALL]]
func.func @main(%cache: !cache, %rows: !rows, %places: tensor<2xi64>) -> (!cache, !cache) {
  %all = "onnx.TensorScatter"(%cache, %rows, %places) {axis = -2 : i64, mode = "linear"} : (!cache, !rows, tensor<2xi64>) -> !cache
  %read = onnx.Exp %all : (!cache) -> !cache
  return %read, %all : !cache, !cache
}

// -----

// Elements that a node writes anew: its lowering starts from its first operand.
// CHECK-LABEL: @main
// CHECK-SAME: -> (tensor<4x8xf32> {megactx.updates = 0 : i64})
// CHECK: [[SAME:%.*]] = onnx.Identity %arg0
// CHECK: [[ALL:%.*]] = onnx.ScatterND [[SAME]]
// CHECK: return [[ALL]]
func.func @main(%cache: tensor<4x8xf32>, %at: tensor<2x1xi64>, %rows: tensor<2x8xf32>) -> tensor<4x8xf32> {
  %same = onnx.Identity %cache : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %all = onnx.ScatterND %same, %at, %rows {reduction = "none"} : (tensor<4x8xf32>, tensor<2x1xi64>, tensor<2x8xf32>) -> tensor<4x8xf32>
  return %all : tensor<4x8xf32>
}

// -----

// A circular cache goes on at its beginning, which is not from one place on.
module {  // expected-error {{no cache can be written in place}}
func.func @main(%cache: tensor<2x4x8xf32>, %rows: tensor<2x1x8xf32>, %places: tensor<2xi64>) -> tensor<2x4x8xf32> {
  %all = "onnx.TensorScatter"(%cache, %rows, %places) {axis = -2 : i64, mode = "circular"} : (tensor<2x4x8xf32>, tensor<2x1x8xf32>, tensor<2xi64>) -> tensor<2x4x8xf32>
  return %all : tensor<2x4x8xf32>
}
}
