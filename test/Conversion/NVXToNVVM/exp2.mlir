// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s

gpu.module @kernels {
  // CHECK-LABEL: func @scalar
  // CHECK: llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f"(%{{.*}}) : (f32) -> f32
  func.func @scalar(%x: f32) -> f32 {
    %y = nvx.exp2 %x : f32
    return %y : f32
  }
  // CHECK-LABEL: func @each_element_of_a_vector
  // CHECK-COUNT-4: llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f"
  // CHECK-NOT: llvm.call_intrinsic
  func.func @each_element_of_a_vector(%x: vector<2x2xf32>) -> vector<2x2xf32> {
    %y = nvx.exp2 %x : vector<2x2xf32>
    return %y : vector<2x2xf32>
  }
}
