// Every level is written, read back by megactx-opt, compiled on, and gives the same numbers.
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python -c "import numpy as np; [np.save('input_%%d' %% i, np.random.default_rng(i).standard_normal((1, 2, 37, 16)).astype(np.float32)) for i in range(3)]"
// RUN: megactx-compile %s -O0 -o whole.mctx 2>/dev/null && megactx-run whole.mctx --inputs . --outputs .

// RUN: megactx-compile %s --compile-to=input -o input.mlir 2>/dev/null && megactx-opt input.mlir -o input.again.mlir
// RUN: megactx-compile input.again.mlir -O0 -o input.mctx 2>/dev/null && megactx-run input.mctx --test-data . --rtol=0 --atol=0 | FileCheck %s
// RUN: FileCheck %s --check-prefix=INPUT < input.mlir

// RUN: megactx-compile %s --compile-to=attention -o attention.mlir 2>/dev/null && megactx-opt attention.mlir -o attention.again.mlir
// RUN: megactx-compile attention.again.mlir -O0 -o attention.mctx 2>/dev/null && megactx-run attention.mctx --test-data . --rtol=0 --atol=0 | FileCheck %s
// RUN: FileCheck %s --check-prefix=ATTENTION < attention.mlir

// RUN: megactx-compile %s --compile-to=linalg -o linalg.mlir 2>/dev/null && megactx-opt linalg.mlir -o linalg.again.mlir
// RUN: megactx-compile linalg.again.mlir -O0 -o linalg.mctx 2>/dev/null && megactx-run linalg.mctx --test-data . --rtol=0 --atol=0 | FileCheck %s
// RUN: FileCheck %s --check-prefix=LINALG < linalg.mlir

// RUN: megactx-compile %s --compile-to=pieces -o pieces.mlir 2>/dev/null && megactx-opt pieces.mlir -o pieces.again.mlir
// RUN: megactx-compile pieces.again.mlir -O0 -o pieces.mctx 2>/dev/null && megactx-run pieces.mctx --test-data . --rtol=0 --atol=0 | FileCheck %s
// RUN: FileCheck %s --check-prefix=PIECES < pieces.mlir

// RUN: megactx-compile %s --compile-to=fused -o fused.mlir 2>/dev/null && megactx-opt fused.mlir -o fused.again.mlir
// RUN: megactx-compile fused.again.mlir -O0 -o fused.mctx 2>/dev/null && megactx-run fused.mctx --test-data . --rtol=0 --atol=0 | FileCheck %s
// RUN: FileCheck %s --check-prefix=FUSED < fused.mlir

// RUN: megactx-compile %s --compile-to=memref -o memref.mlir 2>/dev/null && megactx-opt memref.mlir -o memref.again.mlir
// RUN: megactx-compile memref.again.mlir -O0 -o memref.mctx 2>/dev/null && megactx-run memref.mctx --test-data . --rtol=0 --atol=0 | FileCheck %s
// RUN: FileCheck %s --check-prefix=MEMREF < memref.mlir

// RUN: megactx-compile %s --compile-to=loops -o loops.mlir 2>/dev/null && megactx-opt loops.mlir -o loops.again.mlir
// RUN: megactx-compile loops.again.mlir -O0 -o loops.mctx 2>/dev/null && megactx-run loops.mctx --test-data . --rtol=0 --atol=0 | FileCheck %s
// RUN: FileCheck %s --check-prefix=LOOPS < loops.mlir

// RUN: megactx-compile %s --compile-to=llvm -o llvm.mlir 2>/dev/null && megactx-opt llvm.mlir -o llvm.again.mlir
// RUN: megactx-compile llvm.again.mlir -O0 -o llvm.mctx 2>/dev/null && megactx-run llvm.mctx --test-data . --rtol=0 --atol=0 | FileCheck %s
// RUN: FileCheck %s --check-prefix=LLVM < llvm.mlir

// CHECK-NOT: "ok": false
// CHECK: "ok": true
// INPUT: megactx.attention
// ATTENTION: megactx.attention
// LINALG: megactx.attention
// PIECES: megactx.online_attention
// FUSED: megactx.fused_attention {{.*}} tensor
// MEMREF: megactx.fused_attention {{.*}} memref
// LOOPS: call @mctx_attention_0
// LLVM: llvm.func @mctx_main

// What an input is past cannot be written from it.
// RUN: not megactx-compile memref.mlir --compile-to=pieces -o past.mlir 2>&1 | FileCheck %s --check-prefix=PAST
// PAST: error: the input is past level 'pieces', which cannot be written from it
// RUN: not ls past.mlir

!t = tensor<1x2x?x16xf32>
!s = !megactx.source<!t, !t>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %c0 = arith.constant 0 : index
  %w = arith.constant dense<1.5> : tensor<1x2x16x16xf32>
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal and (window<left = 3, right = 0> or strided<stride = 4>)>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 0.25 : f32} : (!t, !s) -> !t
  %f = tensor.extract %w[%c0, %c0, %c0, %c0] : tensor<1x2x16x16xf32>
  %r = linalg.map ins(%o : !t) outs(%q : !t) (%x: f32, %y: f32) {
    %m = arith.mulf %x, %f : f32
    linalg.yield %m : f32
  }
  return %r : !t
}
