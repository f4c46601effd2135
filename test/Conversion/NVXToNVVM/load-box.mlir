// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s

!t = memref<2x128x64xbf16, #gpu.address_space<workgroup>>
!b = memref<4xi64, #gpu.address_space<workgroup>>
gpu.module @kernels {
  // CHECK-LABEL: gpu.func @kernel
  // CHECK-SAME: (%[[MAP:.*]]: !llvm.ptr, %[[TILE:.*]]: memref<2x128x64xbf16, #gpu.address_space<workgroup>>, %[[BARRIERS:.*]]: memref<4xi64, #gpu.address_space<workgroup>>, %[[I:.*]]: index, %[[TO:.*]]: index)
  gpu.func @kernel(%map: !nvx.tensor_map, %t: !t, %b: !b, %i: index, %to: index) kernel {
    // Panels of 128 rows, rows of 128 bytes.
    // CHECK: %[[ROWS:.*]] = arith.constant 128 : index
    // CHECK: %[[PANEL:.*]] = arith.muli %[[I]], %[[ROWS]]
    // CHECK: %[[ROW:.*]] = arith.addi %[[PANEL]], %[[TO]]
    // CHECK: %[[BEGIN:.*]] = memref.extract_aligned_pointer_as_index %[[TILE]]
    // CHECK: llvm.inttoptr {{.*}} : i64 to !llvm.ptr<3>
    // CHECK: %[[AT:.*]] = llvm.addrspacecast {{.*}} : !llvm.ptr<3> to !llvm.ptr<7>
    // CHECK: memref.extract_aligned_pointer_as_index %[[BARRIERS]]
    // CHECK: %[[BARRIER:.*]] = llvm.inttoptr {{.*}} : i64 to !llvm.ptr<3>
    // Innermost first: column, row, head, batch.
    // CHECK: %[[COLUMN:.*]] = arith.index_cast %[[TO]] : index to i32
    // CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %[[AT]], %[[MAP]], %[[BARRIER]], box[%[[COLUMN]], %{{.*}}, %{{.*}}, %{{.*}}] : !llvm.ptr<7>, !llvm.ptr
    nvx.load_box %map[%i, %i, %i, %to], %t[%i, %to], %b[%i] : !t, !b
    gpu.return
  }
}
