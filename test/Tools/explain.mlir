// RUN: megactx-explain %s --queries 8 | FileCheck %s
// RUN: megactx-explain %s --queries 8 --pattern 'window<left = 1, right = 0>' --json | FileCheck %s --check-prefix=JSON
// RUN: megactx-explain %s --queries 8 --tile=2x4 | FileCheck %s --check-prefix=TILES
// RUN: megactx-explain %s --queries 1 --keys 8 | FileCheck %s --check-prefix=DECODE
// RUN: megactx-compile %s --pattern 'window<left = 1, right = 0>' -o %t.mctx
// RUN: megactx-explain %t.mctx --queries 8 --json | FileCheck %s --check-prefix=JSON
// RUN: not megactx-explain %t.mctx --pattern causal 2>&1 | FileCheck %s --check-prefix=CHOSEN
// RUN: not megactx-explain %t.absent 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: not megactx-explain %s --queries 99999999999 2>&1 | FileCheck %s --check-prefix=SIZE
// RUN: not megactx-explain %s --tile=2 2>&1 | FileCheck %s --check-prefix=SHAPE
// RUN: not megactx-explain %s --pattern 'window<' 2>&1 | FileCheck %s --check-prefix=SYNTAX

// Two heads of 8 queries: 2 * (1 + ... + 8) = 72 pairs of 2 (8 + 8) FLOPs.
// A tile of 16 x 16 a head holds them: 2 * 256 pairs of 32 FLOPs.
// CHECK: layer kind heads
// CHECK: 0 self 2/2 8/8 1 72 56.25 % 0.000 0.000 0 2 0 0.00 causal
// CHECK: at 8 queries and 8 keys, tiles of 16 queries and 16 keys

// Rows of tiles have 1, 1, 2, 2 of 2 tiles; the last two have a full one, the
// tiles of the diagonal are cut.
// TILES: 0 self 2/2 8/8 1 72 56.25 % 0.000 0.000 4 8 4 0.00 causal

// JSON: "bytes": 2048
// JSON: "density": 0.234375
// JSON: "flops": 960
// JSON: "pairs": 30
// JSON: "pattern": "window<left = 1, right = 0> and causal"
// JSON: "pieces": 1
// JSON: "tile_flops": 16384
// JSON-NEXT: "tiles": {
// JSON-NEXT: "empty": 0,
// JSON-NEXT: "full": 0,
// JSON-NEXT: "partial": 2
// JSON: "missed": []
// JSON: "tile": "16x16"

// The one query stands at the end of the keys.
// DECODE: 0 self 2/2 8/8 1 16 100.00 %

// CHOSEN: an artifact's patterns are chosen; give the model instead
// ABSENT: explain.mlir.tmp.absent:0:0: error: cannot read: No such file or directory
// SIZE: expected 0 to 2147483648 {{queries|keys}}, but got 99999999999
// SHAPE: expected --tile=QUERIESxKEYS, each from 1 to 65536, but got '2'
// SYNTAX: error:

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}
