// RUN: megactx-opt %s --megactx-copies-to-linalg | FileCheck %s

// CHECK-LABEL: @copy
// CHECK-NOT: memref.copy
// CHECK: linalg.{{generic|copy}}
func.func @copy(%a: memref<?x4xf32>, %b: memref<?x4xf32>) {
  memref.copy %a, %b : memref<?x4xf32> to memref<?x4xf32>
  return
}
