// RUN: megactx-opt %s --megactx-convert-convolution-to-runtime --split-input-file | FileCheck %s

#x = affine_map<(n, m, i, j, c, p, q) -> (n, c, i * 2 + p, j + q * 3)>
#w = affine_map<(n, m, i, j, c, p, q) -> (m, c, p, q)>
#y = affine_map<(n, m, i, j, c, p, q) -> (n, m, i, j)>

// Two axes, their strides and dilations, and ones for axes that are not there.
// CHECK-LABEL: @convolution
// CHECK-SAME: %[[X:.+]]: memref<?x3x19x20xf32>, %[[W:.+]]: memref<8x3x3x2xf32>, %[[Y:.+]]: memref<?x8x9x17xf32>
// CHECK-NOT: linalg
// CHECK-DAG: %[[XC:.+]] = memref.cast %[[X]] : memref<?x3x19x20xf32> to memref<*xf32>
// CHECK-DAG: %[[WC:.+]] = memref.cast %[[W]]
// CHECK-DAG: %[[YC:.+]] = memref.cast %[[Y]]
// CHECK-DAG: %[[ONE:.+]] = arith.constant 1 : i64
// CHECK-DAG: %[[TWO:.+]] = arith.constant 2 : i64
// CHECK-DAG: %[[THREE:.+]] = arith.constant 3 : i64
// CHECK: call @mctx_rt_convolution_f32(%[[XC]], %[[WC]], %[[YC]], %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}})
func.func @convolution(%x: memref<?x3x19x20xf32>, %w: memref<8x3x3x2xf32>, %y: memref<?x8x9x17xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<?x8x9x17xf32>)
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : memref<?x3x19x20xf32>, memref<8x3x3x2xf32>) outs(%y : memref<?x8x9x17xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// What adds to something is left to loops.
// CHECK-LABEL: @onto_something
// CHECK: linalg.generic
func.func @onto_something(%x: memref<?x3x19x20xf32>, %w: memref<8x3x3x2xf32>, %y: memref<?x8x9x17xf32>) {
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : memref<?x3x19x20xf32>, memref<8x3x3x2xf32>) outs(%y : memref<?x8x9x17xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// Differences are no products.
// CHECK-LABEL: @difference
// CHECK: linalg.generic
func.func @difference(%x: memref<?x3x19x20xf32>, %w: memref<8x3x3x2xf32>, %y: memref<?x8x9x17xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<?x8x9x17xf32>)
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : memref<?x3x19x20xf32>, memref<8x3x3x2xf32>) outs(%y : memref<?x8x9x17xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.subf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// -----

#x = affine_map<(n, g, m, i, c, p) -> (n, g, c, i + p)>
#w = affine_map<(n, g, m, i, c, p) -> (g, c, m, p)>
#y = affine_map<(n, g, m, i, c, p) -> (n, g, m, i)>

// Groups, and a kernel with its channels first.
// CHECK-LABEL: @groups
// CHECK: %[[W:.+]] = memref.transpose %arg1 (d0, d1, d2, d3) -> (d0, d2, d1, d3)
// CHECK: memref.cast %[[W]]
// CHECK: call @mctx_rt_convolution_f32
func.func @groups(%x: memref<2x4x3x9xf32>, %w: memref<4x3x5x3xf32>, %y: memref<2x4x5x7xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<2x4x5x7xf32>)
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : memref<2x4x3x9xf32>, memref<4x3x5x3xf32>) outs(%y : memref<2x4x5x7xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// -----

#x = affine_map<(n, m, i, c, p) -> (n, c, i + p)>
#w = affine_map<(n, m, i, c, p) -> (m, c, p)>
#y = affine_map<(n, m, i, c, p) -> (n, m, i)>

// Data and kernel in half precision, sums in f32.
// CHECK-LABEL: @half
// CHECK-NOT: linalg
// CHECK-DAG: %[[XC:.+]] = memref.cast %{{.+}} : memref<?x3x21xf16> to memref<*xf16>
// CHECK-DAG: %[[YC:.+]] = memref.cast %{{.+}} : memref<?x8x19xf32> to memref<*xf32>
// CHECK: call @mctx_rt_convolution_f16(%[[XC]], %{{.+}}, %[[YC]]
func.func @half(%x: memref<?x3x21xf16>, %w: memref<8x3x3xf16>, %y: memref<?x8x19xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<?x8x19xf32>)
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : memref<?x3x21xf16>, memref<8x3x3xf16>) outs(%y : memref<?x8x19xf32>) {
  ^bb0(%a: f16, %b: f16, %s: f32):
    %0 = arith.extf %a : f16 to f32
    %1 = arith.extf %b : f16 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.addf %s, %2 : f32
    linalg.yield %3 : f32
  }
  return
}
