// The named pipelines one by one, through text, then compiled on; by kernels and by the generic lowering.
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python -c "import numpy as np; [np.save('input_%%d' %% i, np.random.default_rng(i).standard_normal((1, 2, 37, 16)).astype(np.float32)) for i in range(3)]"
// RUN: megactx-compile %s -O0 -o whole.mctx 2>/dev/null && megactx-run whole.mctx --inputs . --outputs .

// RUN: megactx-opt %s --megactx-decompose-patterns -o pieces.mlir
// RUN: megactx-opt pieces.mlir --megactx-attention-pipeline -o fused.mlir
// RUN: megactx-opt fused.mlir --megactx-bufferize-pipeline -o memref.mlir
// RUN: megactx-opt memref.mlir --megactx-cpu-loops-pipeline -o loops.mlir
// RUN: megactx-opt loops.mlir --megactx-cpu-to-llvm-pipeline | FileCheck %s --check-prefix=LLVM
// RUN: megactx-compile loops.mlir -O0 -o kernels.mctx 2>/dev/null && megactx-run kernels.mctx --test-data . --rtol=0 --atol=1e-6 | FileCheck %s
// LLVM-NOT: unrealized_conversion_cast
// LLVM: llvm.func @main

// RUN: megactx-opt pieces.mlir --megactx-attention-pipeline=generic -o generic.mlir
// RUN: FileCheck %s --check-prefix=GENERIC < generic.mlir
// RUN: megactx-opt generic.mlir --megactx-bufferize-pipeline | megactx-opt --megactx-cpu-loops-pipeline -o loops.mlir
// RUN: megactx-compile loops.mlir -O0 -o generic.mctx 2>/dev/null && megactx-run generic.mctx --test-data . --rtol=0 --atol=1e-5 | FileCheck %s
// GENERIC-NOT: megactx.
// GENERIC: math.exp

// CHECK-NOT: "ok": false
// CHECK: "ok": true

!t = tensor<1x2x?x16xf32>
!s = !megactx.source<!t, !t>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal and (window<left = 3, right = 0> or strided<stride = 4>)>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 0.25 : f32} : (!t, !s) -> !t
  return %o : !t
}
