// RUN: megactx-opt %s --megactx-convert-convolution-to-runtime | FileCheck %s

// Groups, axes, and three strides, dilations and pads.
// CHECK-LABEL: @convolution
// CHECK-SAME: %[[X:.+]]: memref<1x?x?x3xf32>, %[[W:.+]]: memref<16x3x3x5xf32>, %[[Y:.+]]: memref<1x?x?x16xf32>
// CHECK-DAG: %[[XC:.+]] = memref.cast %[[X]] : memref<1x?x?x3xf32> to memref<*xf32>
// CHECK-DAG: %[[WC:.+]] = memref.cast %[[W]]
// CHECK-DAG: %[[YC:.+]] = memref.cast %[[Y]]
// CHECK: call @mctx_rt_convolution_last_f32(%[[XC]], %[[WC]], %[[YC]], {{(%[^,]+, ){10}%[^,]+}}) : (memref<*xf32>, memref<*xf32>, memref<*xf32>, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64) -> ()
func.func @convolution(%x: memref<1x?x?x3xf32>, %w: memref<16x3x3x5xf32>, %y: memref<1x?x?x16xf32>) {
  megactx.convolution %x by %w groups(1) strides[2, 1] dilations[1, 1] pads[1, 2] outs(%y)
      : (memref<1x?x?x3xf32>, memref<16x3x3x5xf32>, memref<1x?x?x16xf32>) -> ()
  return
}
