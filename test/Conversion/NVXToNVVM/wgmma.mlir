// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s

gpu.module @kernels {
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
}
