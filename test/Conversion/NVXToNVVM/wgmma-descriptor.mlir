// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s

!tile = memref<2x128x64xbf16, #gpu.address_space<workgroup>>

gpu.module @kernels {
  // Rows of 128 bytes from the tile's address on; between groups of 8 rows are
  // 1024 bytes, and between panels those of 128 rows where the product steps
  // between them. Units are 16 bytes.
  // CHECK-LABEL: func @descriptor
  // CHECK: %[[BEGIN:.*]] = memref.extract_aligned_pointer_as_index
  // CHECK: %[[ROWS:.*]] = arith.muli %{{.*}}, %c128
  // CHECK: %[[SUM:.*]] = arith.addi %[[BEGIN]], %[[ROWS]]
  // CHECK: %[[ADDRESS:.*]] = arith.index_cast %[[SUM]]
  // CHECK: arith.andi %[[ADDRESS]], %c262143_i64
  // CHECK: arith.shrui %{{.*}}, %c4_i64
  // 1 << 62 | 64 << 32 | 1 << 16
  // CHECK: arith.ori %{{.*}}, %c4611686293305360384_i64
  func.func @descriptor(%t: !tile, %row: index) -> i64 {
    %d = nvx.wgmma_descriptor %t[%row] : !tile
    return %d : i64
  }
  // 1 << 62 | 64 << 32 | 1024 << 16
  // CHECK-LABEL: func @transposed_descriptor
  // CHECK: arith.ori %{{.*}}, %c4611686293372403712_i64
  func.func @transposed_descriptor(%t: !tile, %row: index) -> i64 {
    %d = nvx.wgmma_descriptor %t[%row] transpose : !tile
    return %d : i64
  }
}
