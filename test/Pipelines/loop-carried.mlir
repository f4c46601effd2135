// What a loop carries may be a new tensor each time: Fibonacci numbers, once around per step.
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: megactx-compile %s -o loop.mctx 2>/dev/null
// RUN: %python -c "import numpy as np; np.save('input_0', np.int64(20)); np.save('output_0', np.full(3, 6765, np.float32)); np.save('output_1', np.full(3, 10946, np.float32))"
// RUN: megactx-run loop.mctx --test-data . --rtol=0 --atol=0 | FileCheck %s
// CHECK: "ok": true

!t = tensor<?xf32>
func.func @main(%steps: tensor<i64>) -> (!t, !t) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %i = tensor.extract %steps[] : tensor<i64>
  %n = arith.index_cast %i : i64 to index
  %e = tensor.empty(%c3) : !t
  %x = linalg.fill ins(%zero : f32) outs(%e : !t) -> !t
  %y = linalg.fill ins(%one : f32) outs(%e : !t) -> !t
  %r:2 = scf.for %j = %c0 to %n step %c1 iter_args(%a = %x, %b = %y) -> (!t, !t) {
    %sum = linalg.add ins(%a, %b : !t, !t) outs(%e : !t) -> !t
    scf.yield %b, %sum : !t, !t
  }
  return %r#0, %r#1 : !t, !t
}
