// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s

// The element's address, from that of the allocation, the offset and strides;
// nothing else is ordered.

gpu.module @kernels {
  // CHECK-LABEL: func @strided
  // CHECK-SAME: %[[X:[a-z0-9]+]]: f32, %[[SUMS:[a-z0-9]+]]: memref<?x?xf32{{.*}}>, %[[I:[a-z0-9]+]]: index, %[[J:[a-z0-9]+]]: index
  // CHECK: %{{.*}}, %[[OFFSET:.*]], %{{.*}}:2, %[[STRIDES:.*]]:2 = memref.extract_strided_metadata %[[SUMS]]
  // CHECK: %[[ROW:.*]] = arith.muli %[[I]], %[[STRIDES]]#0
  // CHECK: %[[FIRST:.*]] = arith.addi %[[OFFSET]], %[[ROW]]
  // CHECK: %[[COLUMN:.*]] = arith.muli %[[J]], %[[STRIDES]]#1
  // CHECK: %[[AT:.*]] = arith.addi %[[FIRST]], %[[COLUMN]]
  // CHECK: memref.extract_aligned_pointer_as_index %[[SUMS]]
  // CHECK: arith.muli %[[AT]], %c4
  // CHECK: %[[POINTER:.*]] = llvm.inttoptr %{{.*}} : i64 to !llvm.ptr<1>
  // CHECK: llvm.atomicrmw fadd %[[POINTER]], %[[X]] syncscope("device") monotonic {alignment = 4 : i64} : !llvm.ptr<1>, f32
  func.func @strided(%x: f32, %sums: memref<?x?xf32, strided<[?, ?], offset: ?>>, %i: index, %j: index) {
    nvx.atomic_add %x, %sums[%i, %j] : memref<?x?xf32, strided<[?, ?], offset: ?>>
    return
  }
}
