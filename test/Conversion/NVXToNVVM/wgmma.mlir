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
  // CHECK-LABEL: func @first_product_from_memory
  // CHECK: llvm.inline_asm has_side_effects {{.*}}"wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0, $1, $2, $3}, $4, $5, 0, 1, 1, 0, 0;", "=f,=f,=f,=f,l,l"
  func.func @first_product_from_memory(%a: i64, %b: i64) -> vector<1x2x2xf32> {
    %d = nvx.wgmma %a, %b {element = bf16} : (i64, i64) -> vector<1x2x2xf32>
    return %d : vector<1x2x2xf32>
  }
  // CHECK-LABEL: func @product_from_registers
  // CHECK: %[[C:.*]]:4 = vector.to_elements
  // CHECK: vector.bitcast %{{.*}} : vector<4x2xf16> to vector<4x1xi32>
  // CHECK: llvm.inline_asm has_side_effects {{.*}}"wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {$0, $1, $2, $3}, {$8, $9, $10, $11}, $12, 1, 1, 1, 1;", "=f,=f,=f,=f,0,1,2,3,r,r,r,r,l" %[[C]]#0, %[[C]]#1
  func.func @product_from_registers(%a: vector<4x2xf16>, %b: i64, %c: vector<1x2x2xf32>) -> vector<1x2x2xf32> {
    %d = nvx.wgmma %a, %b, %c transpose {element = f16} : (vector<4x2xf16>, i64, vector<1x2x2xf32>) -> vector<1x2x2xf32>
    return %d : vector<1x2x2xf32>
  }
  // CHECK-LABEL: func @wait
  // CHECK: llvm.inline_asm has_side_effects {{.*}}"wgmma.wait_group.sync.aligned 1;", "=f,=f,=f,=f,0,1,2,3"
  func.func @wait(%c: vector<1x2x2xf32>) -> vector<1x2x2xf32> {
    %d = nvx.wgmma_wait 1, %c : vector<1x2x2xf32>
    return %d : vector<1x2x2xf32>
  }
  // CHECK-LABEL: func @wait_after
  // CHECK: "{ .reg .pred p; setp.lt.f32 p, $8, 0f00000000; vote.sync.any.pred p, p, 0xffffffff; @p trap; } wgmma.wait_group.sync.aligned 0;", "=f,=f,=f,=f,0,1,2,3,f"
  func.func @wait_after(%c: vector<1x2x2xf32>, %sum: f32) -> vector<1x2x2xf32> {
    %d = nvx.wgmma_wait 0 after %sum, %c : vector<1x2x2xf32>
    return %d : vector<1x2x2xf32>
  }
}
