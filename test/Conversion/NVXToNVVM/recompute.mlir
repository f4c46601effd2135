// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s
// RUN: megactx-opt %s -cse -canonicalize | FileCheck %s --check-prefix=CSE

// Nothing is shared from one part to the next.

gpu.module @kernels {
  // CHECK-LABEL: func @recompute
  // CHECK: llvm.inline_asm has_side_effects asm_dialect = att "mov.b64 $0, $1;", "=l,l" %{{.*}} : (i64) -> i64
  // CSE-LABEL: func @recompute
  // CSE: arith.muli
  // CSE: nvx.recompute
  // CSE: arith.muli
  func.func @recompute(%x: index, %memory: memref<?xindex>) {
    %first = arith.muli %x, %x : index
    memref.store %first, %memory[%x] : memref<?xindex>
    %y = nvx.recompute %x : index
    %second = arith.muli %y, %y : index
    memref.store %second, %memory[%y] : memref<?xindex>
    return
  }
}
