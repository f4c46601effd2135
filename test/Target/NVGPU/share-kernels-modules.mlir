// RUN: megactx-opt %s --megactx-share-kernels=module-size=1 | FileCheck %s

// A kernel that is in an earlier module is launched there; a table that is there is copied to where a kernel refers to it.
// CHECK: gpu.launch_func @mctx_kernels::@load blocks
// CHECK: gpu.launch_func @mctx_kernels_0::@add blocks
// CHECK: gpu.launch_func @mctx_kernels::@load blocks
// CHECK-LABEL: gpu.module @mctx_kernels {
// CHECK: memref.global "private" constant @table : memref<2xindex> = dense<[1, 2]>
// CHECK: gpu.func @load(
// CHECK-LABEL: gpu.module @mctx_kernels_0 {
// CHECK: gpu.func @add(
// CHECK: memref.get_global @table
// CHECK: memref.global "private" constant @table : memref<2xindex> = dense<[1, 2]>
// CHECK-NOT: gpu.func
module attributes {gpu.container_module} {
  func.func @main(%a: memref<?xindex>) {
    %c1 = arith.constant 1 : index
    gpu.launch_func @one::@load blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xindex>)
    gpu.launch_func @two::@add blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xindex>)
    gpu.launch_func @three::@again blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xindex>)
    return
  }
  gpu.module @one {
    memref.global "private" constant @table : memref<2xindex> = dense<[1, 2]>
    gpu.func @load(%a: memref<?xindex>) kernel {
      %c0 = arith.constant 0 : index
      %t = memref.get_global @table : memref<2xindex>
      %x = memref.load %t[%c0] : memref<2xindex>
      memref.store %x, %a[%c0] : memref<?xindex>
      gpu.return
    }
  }
  gpu.module @two {
    memref.global "private" constant @numbers : memref<2xindex> = dense<[1, 2]>
    gpu.func @add(%a: memref<?xindex>) kernel {
      %c0 = arith.constant 0 : index
      %t = memref.get_global @numbers : memref<2xindex>
      %x = memref.load %t[%c0] : memref<2xindex>
      %y = memref.load %a[%c0] : memref<?xindex>
      %z = arith.addi %x, %y : index
      memref.store %z, %a[%c0] : memref<?xindex>
      gpu.return
    }
  }
  gpu.module @three {
    memref.global "private" constant @table : memref<2xindex> = dense<[1, 2]>
    gpu.func @again(%a: memref<?xindex>) kernel {
      %c0 = arith.constant 0 : index
      %t = memref.get_global @table : memref<2xindex>
      %x = memref.load %t[%c0] : memref<2xindex>
      memref.store %x, %a[%c0] : memref<?xindex>
      gpu.return
    }
  }
}
