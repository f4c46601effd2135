// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(megactx-pass-tensor-maps-by-value))' | FileCheck %s

gpu.module @kernels {
  // The map of two copies, another one, and a pointer that is none.
  // CHECK-LABEL: llvm.func @kernel
  // CHECK-SAME: (%{{[^ ]*}}: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant},
  // CHECK-SAME: %{{[^ ]*}}: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant},
  // CHECK-SAME: %{{[^ ]*}}: !llvm.ptr, %{{[^ ]*}}: !llvm.ptr<7>
  llvm.func @kernel(%a: !llvm.ptr, %b: !llvm.ptr, %other: !llvm.ptr, %to: !llvm.ptr<7>, %barrier: !llvm.ptr<3>, %i: i32)
      attributes {gpu.kernel, nvvm.kernel} {
    nvvm.cp.async.bulk.tensor.shared.cluster.global %to, %a, %barrier, box[%i, %i, %i, %i] : !llvm.ptr<7>, !llvm.ptr
    nvvm.cp.async.bulk.tensor.shared.cluster.global %to, %b, %barrier, box[%i, %i, %i, %i] : !llvm.ptr<7>, !llvm.ptr
    nvvm.cp.async.bulk.tensor.shared.cluster.global %to, %a, %barrier, box[%i, %i, %i, %i] : !llvm.ptr<7>, !llvm.ptr
    llvm.store %i, %other : i32, !llvm.ptr
    llvm.return
  }
}
