// Tiles, and keys split into parts, give the numbers of the whole: heads of patterns, positions, offsets, lengths and bias stay what they were.
// RUN: rm -rf %t && split-file %s %t && cd %t
// RUN: %python -c "import numpy as np; r = np.random.default_rng(); save = lambda i, x: np.save('input_%%d' %% i, x); save(0, r.standard_normal((2, 4, 37, 8)).astype(np.float32)); save(1, r.standard_normal((2, 2, 53, 8)).astype(np.float32)); save(2, r.standard_normal((2, 2, 53, 8)).astype(np.float32)); save(3, r.standard_normal((1, 4, 37, 53)).astype(np.float32)); save(4, np.array([53, 20])); save(5, np.array(16))"
// RUN: megactx-compile main.mlir -O0 -o whole.mctx 2>/dev/null && megactx-run whole.mctx --inputs . --outputs .
// RUN: megactx-compile main.mlir --compile-to=pieces -o pieces.mlir 2>/dev/null

// RUN: megactx-opt pieces.mlir --transform-preload-library=transform-library-paths=tile.mlir --transform-interpreter -o tiled.mlir
// RUN: FileCheck %s --check-prefix=TILED < tiled.mlir
// RUN: megactx-compile tiled.mlir -O0 -o tiled.mctx 2>/dev/null && megactx-run tiled.mctx --test-data . --rtol=0 --atol=1e-5 | FileCheck %s
// TILED-COUNT-8: scf.for
// TILED: megactx.online_attention {{.*}} origin

// RUN: megactx-opt pieces.mlir --transform-preload-library=transform-library-paths=split.mlir --transform-interpreter -o split.keys.mlir
// RUN: FileCheck %s --check-prefix=SPLIT < split.keys.mlir
// RUN: megactx-compile split.keys.mlir --compile-to=memref -o split.memref.mlir 2>/dev/null
// RUN: megactx-opt split.memref.mlir --scf-forall-to-for -o split.loops.mlir
// RUN: megactx-compile split.loops.mlir -O0 -o split.mctx 2>/dev/null && megactx-run split.mctx --test-data . --rtol=0 --atol=1e-5 | FileCheck %s
// SPLIT: scf.forall
// SPLIT: megactx.online_attention {{.*}} origin

// Tiles within the bounds of the pieces; tiles of tiles.
// RUN: megactx-opt pieces.mlir --megactx-tile-attention="query-tile=16 key-tile=10" -o bounds.mlir
// RUN: megactx-compile bounds.mlir -O0 -o bounds.mctx 2>/dev/null && megactx-run bounds.mctx --test-data . --rtol=0 --atol=1e-5 | FileCheck %s
// RUN: megactx-opt tiled.mlir --megactx-tile-attention="query-tile=5 key-tile=3" -o twice.mlir
// RUN: megactx-compile twice.mlir -O0 -o twice.mctx 2>/dev/null && megactx-run twice.mctx --test-data . --rtol=0 --atol=1e-5 | FileCheck %s

// CHECK-NOT: "ok": false
// CHECK: "ok": true

//--- main.mlir
!q = tensor<2x4x?x8xf32>
!k = tensor<2x2x?x8xf32>
!s = !megactx.source<!k, !k>
func.func @main(%q: !q, %k: !k, %v: !k, %bias: tensor<?x4x?x?xf32>, %n: tensor<2xi64>, %o: tensor<i64>) -> !q {
  %x = tensor.extract %o[] : tensor<i64>
  %p = arith.index_cast %x : i64 to index
  %l = arith.index_cast %n : tensor<2xi64> to tensor<2xindex>
  %s = megactx.source %k, %v bias(%bias) lengths(%l) pattern(#megactx.pattern<per_head<[causal, dense, window<left = 9, right = 2> or strided<stride = 5>, random<block = 4, count = 3, seed = 1>]>>)
      : (!k, !k, tensor<?x4x?x?xf32>, tensor<2xindex>) -> !s
  %r = megactx.attention %q, %s offset(%p) {scale = 0.3 : f32, softcap = 5.0 : f32} : (!q, !s, index) -> !q
  return %r : !q
}

//--- tile.mlir
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %ops = transform.structured.match ops{["megactx.online_attention"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loops:4 = transform.structured.tile_using_for %ops tile_sizes [1, 1, 16, 10]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

//--- split.mlir
module attributes {transform.with_named_sequence} {
  transform.named_sequence @split(%op: !transform.any_op {transform.consumed}) {
    %fill:3, %split, %merge:5, %loop = transform.structured.tile_reduction_using_forall %op by tile_sizes = [0, 0, 0, 12]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %ops = transform.structured.match ops{["megactx.online_attention"]} in %root : (!transform.any_op) -> !transform.any_op
    transform.foreach %ops : !transform.any_op {
    ^bb0(%op: !transform.any_op):
      transform.include @split failures(propagate) (%op) : (!transform.any_op) -> ()
    }
    transform.yield
  }
}
