// RUN: megactx-opt %s --megactx-drop-updated-results | FileCheck %s

// What was written in place is there; what is elsewhere is copied. Both are no results any longer, and main says what they were.
// CHECK-LABEL: func.func @main
// CHECK-SAME: ([[X:%.*]]: memref<4xf32>, [[Y:%.*]]: memref<4xf32>, [[Z:%.*]]: memref<4xf32>) -> (memref<4xf32> {onnx.name = "kept"})
// CHECK-SAME: megactx.updated = [{attrs = {megactx.updates = 0 : i64, onnx.name = "here"}, result = 0 : i64, type = memref<?xf32>}, {attrs = {megactx.updates = 1 : i64}, result = 2 : i64, type = memref<4xf32>}]
// CHECK-NOT: memref.copy
// CHECK: memref.copy [[Z]], [[Y]]
// CHECK-NOT: memref.copy
// CHECK: return [[Z]] : memref<4xf32>
func.func @main(%x: memref<4xf32>, %y: memref<4xf32>, %z: memref<4xf32>)
    -> (memref<?xf32> {megactx.updates = 0 : i64, onnx.name = "here"}, memref<4xf32> {onnx.name = "kept"}, memref<4xf32> {megactx.updates = 1 : i64}) {
  %0 = memref.cast %x : memref<4xf32> to memref<?xf32>
  return %0, %z, %z : memref<?xf32>, memref<4xf32>, memref<4xf32>
}
