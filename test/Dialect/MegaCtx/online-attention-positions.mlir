// Tiles of rows that stand at positions of their own give the numbers of the whole.
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python -c "import numpy as np; r = np.random.default_rng(); save = lambda i, x: np.save('input_%%d' %% i, x); save(0, r.standard_normal((2, 2, 37, 8)).astype(np.float32)); save(1, r.standard_normal((2, 2, 53, 8)).astype(np.float32)); save(2, r.integers(-1, 99, (2, 37))); save(3, np.sort(r.integers(0, 99, (2, 53))))"
// RUN: megactx-compile %s -O0 -o whole.mctx 2>/dev/null && megactx-run whole.mctx --inputs . --outputs .
// RUN: megactx-compile %s --compile-to=pieces -o pieces.mlir 2>/dev/null
// RUN: megactx-opt pieces.mlir --megactx-tile-attention="query-tile=16 key-tile=10" -o once.mlir
// RUN: FileCheck %s --check-prefix=TILED < once.mlir
// RUN: megactx-compile once.mlir -O0 -o once.mctx 2>/dev/null && megactx-run once.mctx --test-data . --rtol=0 --atol=1e-5 | FileCheck %s
// RUN: megactx-opt once.mlir --megactx-tile-attention="query-tile=5 key-tile=3" -o twice.mlir
// RUN: megactx-compile twice.mlir -O0 -o twice.mctx 2>/dev/null && megactx-run twice.mctx --test-data . --rtol=0 --atol=1e-5 | FileCheck %s

// TILED: megactx.online_attention {{.*}} query_positions(%{{.+}}) key_positions(%{{.+}}) origin

// CHECK-NOT: "ok": false
// CHECK: "ok": true

!q = tensor<2x2x?x8xf32>
!s = !megactx.source<!q, !q>
func.func @main(%q: !q, %k: !q, %a: tensor<2x?xi64>, %b: tensor<2x?xi64>) -> !q {
  %p = arith.index_cast %a : tensor<2x?xi64> to tensor<2x?xindex>
  %o = arith.index_cast %b : tensor<2x?xi64> to tensor<2x?xindex>
  %s = megactx.source %k, %k positions(%o) pattern(#megactx.pattern<per_head<[causal, window<left = 9, right = 2> or strided<stride = 5>]>>)
      : (!q, !q, tensor<2x?xindex>) -> !s
  %r = megactx.attention %q, %s positions(%p) {scale = 0.3 : f32} : (!q, !s, tensor<2x?xindex>) -> !q
  return %r : !q
}
