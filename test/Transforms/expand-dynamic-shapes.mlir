// RUN: megactx-opt %s --megactx-expand-dynamic-shapes | FileCheck %s

// CHECK-LABEL: @two_dynamic_sizes_in_a_group
// CHECK-NOT: memref.expand_shape
// CHECK: memref.reinterpret_cast
func.func @two_dynamic_sizes_in_a_group(%a: memref<?x8xf32>, %m: index, %n: index) -> memref<?x?x8xf32> {
  %0 = memref.expand_shape %a [[0, 1], [2]] output_shape [%m, %n, 8] : memref<?x8xf32> into memref<?x?x8xf32>
  return %0 : memref<?x?x8xf32>
}

// CHECK-LABEL: @one_dynamic_size_is_upstreams
// CHECK: memref.expand_shape
func.func @one_dynamic_size_is_upstreams(%a: memref<?x8xf32>, %m: index) -> memref<?x4x8xf32> {
  %0 = memref.expand_shape %a [[0, 1], [2]] output_shape [%m, 4, 8] : memref<?x8xf32> into memref<?x4x8xf32>
  return %0 : memref<?x4x8xf32>
}
