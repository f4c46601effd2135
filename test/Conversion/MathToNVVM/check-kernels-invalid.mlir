// RUN: megactx-opt %s -split-input-file -verify-diagnostics --pass-pipeline='builtin.module(gpu.module(megactx-check-kernels))'

// Each function once, at its first call.
gpu.module @kernels {
  llvm.func @__nv_exp(f64) -> f64
  llvm.func @elsewhere(f64) -> f64
  llvm.func @kernel(%x: f64) {
    // expected-error@+1 {{no lowering to a GPU for exp of f64; --target=cpu compiles it}}
    %0 = llvm.call @__nv_exp(%x) : (f64) -> f64
    %1 = llvm.call @__nv_exp(%0) : (f64) -> f64
    // expected-error@+1 {{no lowering to a GPU for elsewhere; --target=cpu compiles it}}
    %2 = llvm.call @elsewhere(%1) : (f64) -> f64
    llvm.return
  }
}

// -----

gpu.module @kernels {
  llvm.func @kernel(%f: !llvm.ptr, %x: f64) {
    // expected-error@+1 {{no lowering to a GPU for an indirect call; --target=cpu compiles it}}
    %0 = llvm.call %f(%x) : !llvm.ptr, (f64) -> f64
    llvm.return
  }
}
