// RUN: megactx-opt %s --megactx-share-kernels | FileCheck %s

// What differs in an attribute, here the threads of a block, is another kernel.
// CHECK-LABEL: gpu.module @mctx_kernels
// CHECK: gpu.func @kernel() {{.*}} attributes {nvvm.maxntid = array<i32: 128>}
// CHECK: gpu.func @kernel_0() {{.*}} attributes {nvvm.maxntid = array<i32: 256>}
module attributes {gpu.container_module} {
  gpu.module @one {
    gpu.func @kernel() kernel attributes {nvvm.maxntid = array<i32: 128>} {
      gpu.return
    }
  }
  gpu.module @two {
    gpu.func @kernel() kernel attributes {nvvm.maxntid = array<i32: 256>} {
      gpu.return
    }
  }
}
