// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s

gpu.module @kernels {
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
