// RUN: megactx-opt %s --megactx-check-gpu-host | FileCheck %s

// Numbers, control, buffers, launches, and attention that becomes one.
// CHECK-LABEL: func @main
// CHECK: scf.for
// CHECK: gpu.launch_func
// CHECK: megactx.fused_attention
module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @kernel(%a: memref<?xf32>) kernel {
      gpu.return
    }
  }
  func.func @main(%a: memref<?xf32>, %q: memref<?x?x?x64xf16>, %l: memref<?x?x?xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %n = memref.dim %a, %c0 : memref<?xf32>
    %ok = arith.cmpi sgt, %n, %c0 : index
    cf.assert %ok, "empty"
    scf.for %i = %c0 to %n step %c1 {
      gpu.launch_func @kernels::@kernel blocks in (%n, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xf32>)
    }
    megactx.fused_attention %q, %q, %q outs(%q, %l) [#megactx.piece<all>] {scale = 1.0 : f32}
        : (memref<?x?x?x64xf16>, memref<?x?x?x64xf16>, memref<?x?x?x64xf16>, memref<?x?x?x64xf16>, memref<?x?x?xf32>) -> ()
    return
  }
}
