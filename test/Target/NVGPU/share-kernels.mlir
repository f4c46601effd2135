// RUN: megactx-opt %s --megactx-share-kernels | FileCheck %s

// Equal kernels, with equal tables, are one; what differs in a number stays apart.
// CHECK: gpu.launch_func @mctx_kernels::@kernel
// CHECK: gpu.launch_func @mctx_kernels::@kernel
// CHECK: gpu.launch_func @mctx_kernels::@[[THIRD:.*]] blocks
// CHECK: gpu.launch_func @mctx_kernels::@[[FOURTH:.*]] blocks
// A kernel that is compiled already.
// CHECK: gpu.launch_func @compiled::@kernel
// CHECK-LABEL: gpu.module @mctx_kernels
// CHECK: memref.global "private" constant @table : memref<2xindex> = dense<[1, 2]>
// CHECK: gpu.func @kernel(
// CHECK: memref.get_global @table
// CHECK: memref.global "private" constant @[[OTHER:.*]] : memref<2xindex> = dense<[1, 3]>
// CHECK: gpu.func @[[THIRD]](
// CHECK: memref.get_global @[[OTHER]]
// A table's new name is the other's old one.
// CHECK: memref.global "private" constant @[[FIVE:.*]] : memref<2xindex> = dense<[1, 5]>
// CHECK: memref.global "private" constant @[[SIX:.*]] : memref<2xindex> = dense<[1, 6]>
// CHECK: gpu.func @[[FOURTH]](
// CHECK: memref.get_global @[[FIVE]] :
// CHECK: memref.get_global @[[SIX]] :
// CHECK-NOT: gpu.func
// CHECK-NOT: gpu.module
module attributes {gpu.container_module} {
  func.func @main(%a: memref<?xindex>) {
    %c1 = arith.constant 1 : index
    gpu.launch_func @one::@kernel blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xindex>)
    gpu.launch_func @two::@same blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xindex>)
    gpu.launch_func @three::@kernel blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xindex>)
    gpu.launch_func @four::@kernel blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xindex>)
    gpu.launch_func @compiled::@kernel blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xindex>)
    return
  }
  gpu.module @one {
    memref.global "private" constant @table : memref<2xindex> = dense<[1, 2]>
    gpu.func @kernel(%a: memref<?xindex>) kernel {
      %c0 = arith.constant 0 : index
      %t = memref.get_global @table : memref<2xindex>
      %x = memref.load %t[%c0] : memref<2xindex>
      memref.store %x, %a[%c0] : memref<?xindex>
      gpu.return
    }
  }
  gpu.module @two {
    memref.global "private" constant @numbers : memref<2xindex> = dense<[1, 2]>
    gpu.func @same(%b: memref<?xindex>) kernel {
      %c0 = arith.constant 0 : index
      %t = memref.get_global @numbers : memref<2xindex>
      %x = memref.load %t[%c0] : memref<2xindex>
      memref.store %x, %b[%c0] : memref<?xindex>
      gpu.return
    }
  }
  gpu.module @three {
    memref.global "private" constant @table : memref<2xindex> = dense<[1, 3]>
    gpu.func @kernel(%a: memref<?xindex>) kernel {
      %c0 = arith.constant 0 : index
      %t = memref.get_global @table : memref<2xindex>
      %x = memref.load %t[%c0] : memref<2xindex>
      memref.store %x, %a[%c0] : memref<?xindex>
      gpu.return
    }
  }
  gpu.module @four {
    memref.global "private" constant @table : memref<2xindex> = dense<[1, 5]>
    memref.global "private" constant @table_1 : memref<2xindex> = dense<[1, 6]>
    gpu.func @kernel(%a: memref<?xindex>) kernel {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %t = memref.get_global @table : memref<2xindex>
      %u = memref.get_global @table_1 : memref<2xindex>
      %x = memref.load %t[%c0] : memref<2xindex>
      %y = memref.load %u[%c0] : memref<2xindex>
      memref.store %x, %a[%c0] : memref<?xindex>
      memref.store %y, %a[%c1] : memref<?xindex>
      gpu.return
    }
  }
  gpu.binary @compiled [#gpu.object<#nvvm.target<chip = "sm_80">, "code">]
}
