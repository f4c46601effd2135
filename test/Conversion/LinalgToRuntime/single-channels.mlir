// RUN: megactx-opt %s --megactx-convert-convolution-to-runtime | FileCheck %s

#data = affine_map<(n, g, m, l, c, k) -> (n, g, c, l + k)>
#image = affine_map<(n, g, m, h, w, c, i, j) -> (n, g, c, h * 2 + i, w + j)>
#image_kernel = affine_map<(n, g, m, h, w, c, i, j) -> (g, m, c, i, j)>
#image_out = affine_map<(n, g, m, h, w, c, i, j) -> (n, g, m, h, w)>
#steps = affine_map<(n, g, m, l, c, k) -> (n, g, c, l * 2 + k)>
#kernel = affine_map<(n, g, m, l, c, k) -> (g, m, c, k)>
#out = affine_map<(n, g, m, l, c, k) -> (n, g, m, l)>

// Each channel meets a kernel of its own: loops, the axis innermost.
// CHECK: #[[DATA:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d3, d4 + d5)>
// CHECK-LABEL: @own_kernels
// CHECK-NOT: call
// CHECK: linalg.generic {indexing_maps = [#[[DATA]], {{.*}} iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction", "parallel"]}
func.func @own_kernels(%x: memref<1x8x1x?xf32>, %w: memref<8x2x1x4xf32>, %y: memref<1x8x2x?xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<1x8x2x?xf32>)
  linalg.generic {indexing_maps = [#data, #kernel, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : memref<1x8x1x?xf32>, memref<8x2x1x4xf32>) outs(%y : memref<1x8x2x?xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// The last of several axes; the steps of others may be longer.
// CHECK-LABEL: @two_axes
// CHECK-NOT: call
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "parallel"]}
func.func @two_axes(%x: memref<1x8x1x?x?xf32>, %w: memref<8x2x1x3x3xf32>, %y: memref<1x8x2x?x?xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<1x8x2x?x?xf32>)
  linalg.generic {indexing_maps = [#image, #image_kernel, #image_out],
                  iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : memref<1x8x1x?x?xf32>, memref<8x2x1x3x3xf32>) outs(%y : memref<1x8x2x?x?xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// By two steps at a time, neighbours do not read neighbours.
// CHECK-LABEL: @two_steps
// CHECK: call @mctx_rt_convolution_f32
func.func @two_steps(%x: memref<1x8x1x?xf32>, %w: memref<8x2x1x4xf32>, %y: memref<1x8x2x?xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<1x8x2x?xf32>)
  linalg.generic {indexing_maps = [#steps, #kernel, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : memref<1x8x1x?xf32>, memref<8x2x1x4xf32>) outs(%y : memref<1x8x2x?xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}
