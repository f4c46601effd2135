// RUN: megactx-opt %s | megactx-opt | FileCheck %s

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>

// CHECK-LABEL: @shares
// CHECK: megactx.fused_rows scratch(%{{.*}} : memref<?xf32>) {
// CHECK-NEXT: linalg.fill
// CHECK-NEXT: linalg.generic
// CHECK: linalg.generic
func.func @shares(%x: memref<?x512xf32>, %sum: memref<?xf32>, %y: memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  megactx.fused_rows scratch(%sum : memref<?xf32>) {
    linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
    linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
        ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
    ^bb0(%a: f32, %s: f32, %old: f32):
      %0 = arith.divf %a, %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}

// CHECK-LABEL: @sum_alone
// CHECK: megactx.fused_rows {
func.func @sum_alone(%x: memref<?x512xf32>, %sum: memref<?xf32>) {
  megactx.fused_rows {
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}
