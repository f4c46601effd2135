// RUN: megactx-opt %s --pass-pipeline='builtin.module(gpu.module(megactx-check-kernels))' | FileCheck %s

// CHECK-LABEL: llvm.func @kernel
// CHECK: llvm.call @helper
gpu.module @kernels {
  llvm.func @helper(%x: f64) -> f64 {
    llvm.return %x : f64
  }
  llvm.func @kernel(%x: f64) {
    %0 = llvm.call @helper(%x) : (f64) -> f64
    %1 = llvm.call_intrinsic "llvm.fabs.f64"(%0) : (f64) -> f64
    llvm.return
  }
}
