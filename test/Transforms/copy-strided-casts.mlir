// RUN: megactx-opt %s --megactx-copy-strided-casts | FileCheck %s

// Rows of a slice are as far apart as those of what it is a slice of.
// CHECK-LABEL: func @slice
func.func @slice(%x: memref<?x?x64xf32, strided<[?, 64, 1]>>) -> memref<?x?x64xf32> {
  // CHECK-DAG: %[[B:.*]] = memref.dim %arg0, %c0
  // CHECK-DAG: %[[N:.*]] = memref.dim %arg0, %c1
  // CHECK: %[[COPY:.*]] = memref.alloc(%[[B]], %[[N]])
  // CHECK: memref.copy %arg0, %[[COPY]]
  // CHECK: return %[[COPY]]
  %cast = memref.cast %x : memref<?x?x64xf32, strided<[?, 64, 1]>> to memref<?x?x64xf32>
  return %cast : memref<?x?x64xf32>
}

// CHECK-LABEL: func @one_row
func.func @one_row(%x: memref<1x?x64xf32, strided<[?, 64, 1]>>) -> memref<1x?x64xf32> {
  // CHECK-NOT: memref.copy
  // CHECK: memref.cast
  %cast = memref.cast %x : memref<1x?x64xf32, strided<[?, 64, 1]>> to memref<1x?x64xf32>
  return %cast : memref<1x?x64xf32>
}

// CHECK-LABEL: func @to_strides
func.func @to_strides(%x: memref<4x?xf32>) -> memref<?x?xf32, strided<[?, ?]>> {
  // CHECK-NOT: memref.copy
  // CHECK: memref.cast
  %cast = memref.cast %x : memref<4x?xf32> to memref<?x?xf32, strided<[?, ?]>>
  return %cast : memref<?x?xf32, strided<[?, ?]>>
}
