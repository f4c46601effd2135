// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s

gpu.module @kernels {
  // CHECK-LABEL: func @max
  // CHECK: llvm.call_intrinsic "llvm.maxnum"(%{{.*}}, %{{.*}}) : (f32, f32) -> f32
  func.func @max(%x: f32, %y: f32) -> f32 {
    %m = nvx.max %x, %y : f32
    return %m : f32
  }
  // CHECK-LABEL: func @vectors_element_by_element
  // CHECK-COUNT-4: llvm.call_intrinsic "llvm.maxnum"
  // CHECK: vector.from_elements %{{.*}} : vector<2x2xf32>
  func.func @vectors_element_by_element(%x: vector<2x2xf32>, %y: vector<2x2xf32>) -> vector<2x2xf32> {
    %m = nvx.max %x, %y : vector<2x2xf32>
    return %m : vector<2x2xf32>
  }
}
