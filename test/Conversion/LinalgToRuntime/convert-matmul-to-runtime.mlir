// RUN: megactx-opt %s --megactx-convert-matmul-to-runtime | FileCheck %s

#a = affine_map<(b, m, n, k) -> (b, m, k)>
#b = affine_map<(b, m, n, k) -> (b, k, n)>
#c = affine_map<(b, m, n, k) -> (b, m, n)>

// CHECK-LABEL: @product
// CHECK-NOT: linalg.generic
// CHECK: call @mctx_rt_matmul_f32(
func.func @product(%x: memref<?x4x8xf32>, %y: memref<?x8x16xf32>, %z: memref<?x4x16xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%z : memref<?x4x16xf32>)
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %y : memref<?x4x8xf32>, memref<?x8x16xf32>) outs(%z : memref<?x4x16xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %0 = arith.mulf %p, %q : f32
    %1 = arith.addf %r, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// The runtime overwrites: what is added to something is left to loops.
// CHECK-LABEL: @sum_of_products
// CHECK: linalg.generic
// CHECK-NOT: call
func.func @sum_of_products(%x: memref<?x4x8xf32>, %y: memref<?x8x16xf32>, %z: memref<?x4x16xf32>) {
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %y : memref<?x4x8xf32>, memref<?x8x16xf32>) outs(%z : memref<?x4x16xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %0 = arith.mulf %p, %q : f32
    %1 = arith.addf %r, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// CHECK-LABEL: @difference_is_no_product
// CHECK: linalg.generic
func.func @difference_is_no_product(%x: memref<?x4x8xf32>, %y: memref<?x8x16xf32>, %z: memref<?x4x16xf32>) {
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %y : memref<?x4x8xf32>, memref<?x8x16xf32>) outs(%z : memref<?x4x16xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %0 = arith.subf %p, %q : f32
    %1 = arith.addf %r, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// oneDNN's product has no epilogue: it is a map behind it.
// CHECK-LABEL: @epilogue
// CHECK-NOT: linalg.fill
// CHECK: call @mctx_rt_matmul_f32(
// CHECK: linalg.generic
// CHECK-NOT: megactx.product
func.func @epilogue(%x: memref<1x4x8xf32>, %y: memref<1x8x16xf32>, %v: memref<16xf32>, %z: memref<1x4x16xf32>) {
  megactx.product %x, %y bias(%v) outs(%z) : (memref<1x4x8xf32>, memref<1x8x16xf32>, memref<16xf32>, memref<1x4x16xf32>) -> ()
  return
}

// The runtime takes matrices by columns, too.
// CHECK-LABEL: @product_by_columns
// CHECK-NOT: linalg.generic
// CHECK: call @mctx_rt_matmul_f32(
func.func @product_by_columns(%x: memref<?x4x8xf32>, %y: memref<?x8x16xf32, strided<[128, 1, 8]>>, %z: memref<?x4x16xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%z : memref<?x4x16xf32>)
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %y : memref<?x4x8xf32>, memref<?x8x16xf32, strided<[128, 1, 8]>>) outs(%z : memref<?x4x16xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %0 = arith.mulf %p, %q : f32
    %1 = arith.addf %r, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// Neither rows nor columns.
// CHECK-LABEL: @product_of_every_other_element
// CHECK: linalg.generic
func.func @product_of_every_other_element(%x: memref<?x4x8xf32>, %y: memref<?x8x16xf32, strided<[256, 32, 2]>>, %z: memref<?x4x16xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%z : memref<?x4x16xf32>)
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %y : memref<?x4x8xf32>, memref<?x8x16xf32, strided<[256, 32, 2]>>) outs(%z : memref<?x4x16xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %0 = arith.mulf %p, %q : f32
    %1 = arith.addf %r, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// Bytes: the left ones have no sign, the right ones have one.
// CHECK-LABEL: @bytes
// CHECK: call @mctx_rt_matmul_u8s8({{.*}}) : (memref<?x?x?xui8, {{.*}}>, memref<?x?x?xi8, {{.*}}>, memref<?x?x?xi32, {{.*}}>) -> ()
// CHECK-NOT: call
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : memref<1x4x8xi8>, memref<1x8x16xi8>)
// CHECK-NOT: call
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : memref<1x4x8xi8>, memref<1x8x16xui8>)
func.func @bytes(%u: memref<1x4x8xui8>, %s: memref<1x4x8xi8>, %w: memref<1x8x16xi8>, %uw: memref<1x8x16xui8>, %z: memref<1x4x16xi32>) {
  %zero = arith.constant 0 : i32
  linalg.fill ins(%zero : i32) outs(%z : memref<1x4x16xi32>)
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%u, %w : memref<1x4x8xui8>, memref<1x8x16xi8>) outs(%z : memref<1x4x16xi32>) {
  ^bb0(%p: ui8, %q: i8, %r: i32):
    %bits = builtin.unrealized_conversion_cast %p : ui8 to i8
    %0 = arith.extui %bits : i8 to i32
    %1 = arith.extsi %q : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %r, %2 : i32
    linalg.yield %3 : i32
  }
  linalg.fill ins(%zero : i32) outs(%z : memref<1x4x16xi32>)
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%s, %w : memref<1x4x8xi8>, memref<1x8x16xi8>) outs(%z : memref<1x4x16xi32>) {
  ^bb0(%p: i8, %q: i8, %r: i32):
    %0 = arith.extsi %p : i8 to i32
    %1 = arith.extsi %q : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %r, %2 : i32
    linalg.yield %3 : i32
  }
  linalg.fill ins(%zero : i32) outs(%z : memref<1x4x16xi32>)
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%s, %uw : memref<1x4x8xi8>, memref<1x8x16xui8>) outs(%z : memref<1x4x16xi32>) {
  ^bb0(%p: i8, %q: ui8, %r: i32):
    %0 = arith.extsi %p : i8 to i32
    %bits = builtin.unrealized_conversion_cast %q : ui8 to i8
    %1 = arith.extui %bits : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %r, %2 : i32
    linalg.yield %3 : i32
  }
  return
}
