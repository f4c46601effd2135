// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s

// CHECK-LABEL: gpu.module @two_uses_share_one_global
// CHECK: llvm.mlir.global external @nvx_shared_memory() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
// CHECK-NOT: llvm.mlir.global
gpu.module @two_uses_share_one_global {
  // CHECK: func @kernel
  func.func @kernel() -> (memref<64xi8, #gpu.address_space<workgroup>>, memref<96xi8, #gpu.address_space<workgroup>>) {
    // CHECK-DAG: %[[BASE:.*]] = llvm.mlir.addressof @nvx_shared_memory : !llvm.ptr<3>
    // CHECK-DAG: llvm.mlir.constant(64 : i64)
    // CHECK: builtin.unrealized_conversion_cast {{.*}} to memref<64xi8, #gpu.address_space<workgroup>>
    %0 = nvx.shared_memory : memref<64xi8, #gpu.address_space<workgroup>>
    // CHECK: llvm.mlir.constant(96 : i64)
    %1 = nvx.shared_memory : memref<96xi8, #gpu.address_space<workgroup>>
    return %0, %1 : memref<64xi8, #gpu.address_space<workgroup>>, memref<96xi8, #gpu.address_space<workgroup>>
  }
}
