// RUN: megactx-opt %s --megactx-share-kernels | FileCheck %s

// The second module has the first one's tables under each other's names: all are
// renamed at once, and both kernels are one.
// CHECK-LABEL: gpu.module @mctx_kernels
// CHECK-DAG: memref.global "private" constant @a : memref<2xi64> = dense<[1, 2]>
// CHECK-DAG: memref.global "private" constant @b : memref<2xi64> = dense<[3, 4]>
// CHECK: gpu.func @kernel()
// CHECK-NEXT: memref.get_global @a
// CHECK-NEXT: memref.get_global @b
// CHECK-NOT: gpu.func
module attributes {gpu.container_module} {
  gpu.module @one {
    memref.global "private" constant @a : memref<2xi64> = dense<[1, 2]>
    memref.global "private" constant @b : memref<2xi64> = dense<[3, 4]>
    gpu.func @kernel() kernel {
      %0 = memref.get_global @a : memref<2xi64>
      %1 = memref.get_global @b : memref<2xi64>
      gpu.return
    }
  }
  gpu.module @two {
    memref.global "private" constant @a : memref<2xi64> = dense<[3, 4]>
    memref.global "private" constant @b : memref<2xi64> = dense<[1, 2]>
    gpu.func @kernel() kernel {
      %0 = memref.get_global @b : memref<2xi64>
      %1 = memref.get_global @a : memref<2xi64>
      gpu.return
    }
  }
}
