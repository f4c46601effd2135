// RUN: megactx-opt %s --pass-pipeline='builtin.module(gpu.module(megactx-convert-math-to-nvvm))' | FileCheck %s

// Functions of f64 have no polynomials here: what calls they become is refused.
// CHECK-LABEL: func @double
// CHECK: math.exp %{{.*}} : f64
// CHECK: math.sin %{{.*}} : f64
gpu.module @kernels {
  func.func @double(%x: f64) -> f64 {
    %0 = math.exp %x : f64
    %1 = math.sin %0 : f64
    return %1 : f64
  }
}

// Outside of a gpu.module nothing changes.
// CHECK-LABEL: func @host
// CHECK: math.sqrt
func.func @host(%x: f32) -> f32 {
  %0 = math.sqrt %x : f32
  return %0 : f32
}
