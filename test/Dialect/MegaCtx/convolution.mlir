// RUN: megactx-opt %s | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --mlir-print-op-generic | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --megactx-bufferize-pipeline | FileCheck %s --check-prefix=MEMREF

// CHECK-LABEL: @strided
// CHECK: megactx.convolution %{{.+}} by %{{.+}} groups(1) strides [2, 2] dilations [1, 1] pads [1, 1] outs(%{{.+}}) : (tensor<1x?x?x3xf32>, tensor<16x3x3x3xf32>, tensor<1x?x?x16xf32>) -> tensor<1x?x?x16xf32>
// MEMREF-LABEL: @strided
// MEMREF-SAME: %{{[^,]*}}: memref<1x?x?x3xf32>, {{.*}}, %[[OUT:[^,]*]]: memref<1x?x?x16xf32>
// MEMREF: megactx.convolution {{.*}} outs(%[[OUT]]) : {{.*}} -> ()
func.func @strided(%x: tensor<1x?x?x3xf32>, %w: tensor<16x3x3x3xf32>, %e: tensor<1x?x?x16xf32>) -> tensor<1x?x?x16xf32> {
  %y = megactx.convolution %x by %w groups(1) strides[2, 2] dilations[1, 1] pads[1, 1] outs(%e)
      : (tensor<1x?x?x3xf32>, tensor<16x3x3x3xf32>, tensor<1x?x?x16xf32>) -> tensor<1x?x?x16xf32>
  return %y : tensor<1x?x?x16xf32>
}

// A channel with a kernel of its own.
// CHECK-LABEL: @by_channel
// CHECK: megactx.convolution %{{.+}} by %{{.+}} groups(8) strides [1] dilations [2] pads [0] outs(%{{.+}}) : (memref<2x9x8xf32>, memref<8x1x3xf32>, memref<2x5x8xf32>) -> ()
func.func @by_channel(%x: memref<2x9x8xf32>, %w: memref<8x1x3xf32>, %y: memref<2x5x8xf32>) {
  megactx.convolution %x by %w groups(8) strides[1] dilations[2] pads[0] outs(%y)
      : (memref<2x9x8xf32>, memref<8x1x3xf32>, memref<2x5x8xf32>) -> ()
  return
}
