// RUN: split-file %s %t
// RUN: megactx-opt %t/in.mlir --megactx-sparsify='pattern="window<left = 3, right = 0>"' | FileCheck %s
// RUN: megactx-opt %t/in.mlir --megactx-sparsify | FileCheck %s --check-prefix=SAME
// RUN: megactx-opt %t/in.mlir --megactx-sparsify=policy=%t/policy.json | FileCheck %s --check-prefix=POLICY
// RUN: megactx-opt %t/in.mlir --megactx-sparsify='policy=%t/policy.json step=100' | FileCheck %s --check-prefix=LATE
// RUN: megactx-opt %t/everywhere.mlir --megactx-sparsify='pattern="window<left = 3, right = 0>"' | FileCheck %s --check-prefix=EVERYWHERE
// RUN: megactx-opt %t/branches.mlir --megactx-sparsify=policy=%t/policy.json | FileCheck %s --check-prefix=BRANCHES
// RUN: not megactx-opt %t/in.mlir --megactx-sparsify=policy=%t/absent-layer.json 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: not megactx-opt %t/in.mlir --megactx-sparsify=policy=%t/other-key.json 2>&1 | FileCheck %s --check-prefix=KEY
// RUN: megactx-opt %t/in.mlir --megactx-sparsify=policy=%t/idle.json 2>&1 | FileCheck %s --check-prefix=IDLE
// RUN: megactx-opt %t/branches.mlir --megactx-sparsify=policy=%t/policy.json 2>&1 | FileCheck %s --check-prefix=BUSY
// RUN: not megactx-opt %t/in.mlir --megactx-sparsify='pattern="window<left = >"' 2>&1 | FileCheck %s --check-prefix=SYNTAX

//--- in.mlir
!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>

// The model's own mask is kept, and cross-attention is left alone.
// CHECK-LABEL: @layers
// CHECK: pattern(#megactx.pattern<window<left = 3, right = 0> and causal>)
// CHECK: pattern(#megactx.pattern<window<left = 3, right = 0>>)
// CHECK: pattern(#megactx.pattern<dense>)
// SAME-LABEL: @layers
// SAME: pattern(#megactx.pattern<causal>)
// POLICY: pattern(#megactx.pattern<strided<stride = 4> and causal>)
// POLICY: pattern(#megactx.pattern<block_local<block = 8>>)
// POLICY: pattern(#megactx.pattern<columns<block = 8, first = 0, count = 1>>)
// LATE: pattern(#megactx.pattern<strided<stride = 4> and causal>)
// LATE: pattern(#megactx.pattern<window<left = 1, right = 1>>)
// ABSENT: layer
// KEY: rule 0: 'schedule': unknown key 'heads'
// SYNTAX: error
// IDLE-NOT: rule 0
// IDLE: warning: sparsify: policy '{{.*}}idle.json': rule 1 is for cross-attention, and finds none
// IDLE-NOT: warning
// BUSY-NOT: warning
func.func @layers(%q: !t, %k: !t, %v: !t) -> (!t, !t, !t) {
  %s0 = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %a = megactx.attention %q, %s0 {scale = 1.0 : f32} : (!t, !s) -> !t
  %s1 = megactx.source %a, %v pattern(#megactx.pattern<dense>) : (!t, !t) -> !s
  %c = megactx.attention %q, %s1 {scale = 1.0 : f32} : (!t, !s) -> !t
  %s2 = megactx.source %c, %v pattern(#megactx.pattern<dense>) : (!t, !t) -> !s
  %d = megactx.attention %q, %s2 {kind = "cross", scale = 1.0 : f32} : (!t, !s) -> !t
  return %a, %c, %d : !t, !t, !t
}

//--- everywhere.mlir
!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>

// Keys that stand nowhere stay as they are.
// EVERYWHERE-LABEL: @tokens_that_all_see
// EVERYWHERE: pattern(#megactx.pattern<dense>) everywhere
// EVERYWHERE: pattern(#megactx.pattern<window<left = 3, right = 0> and block_local<block = 8>>) :
func.func @tokens_that_all_see(%q: !t, %k: !t, %v: !t, %m: !t) -> !t {
  %0 = megactx.source %m, %m pattern(#megactx.pattern<dense>) everywhere : (!t, !t) -> !s
  %1 = megactx.source %k, %v pattern(#megactx.pattern<block_local<block = 8>>) : (!t, !t) -> !s
  %2 = megactx.attention %q, %0, %1 {scale = 1.0 : f32} : (!t, !s, !s) -> !t
  return %2 : !t
}

//--- branches.mlir
!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>

// Branches count from the same number, and what follows from the larger.
// BRANCHES-LABEL: @branches
// BRANCHES: pattern(#megactx.pattern<strided<stride = 4>>)
// BRANCHES: else
// BRANCHES: pattern(#megactx.pattern<strided<stride = 4>>)
// BRANCHES: pattern(#megactx.pattern<block_local<block = 8>>)
// BRANCHES: pattern(#megactx.pattern<columns<block = 8, first = 0, count = 1>>)
func.func @branches(%q: !t, %k: !t, %v: !t, %p: i1) -> !t {
  %r = scf.if %p -> !t {
    %s = megactx.source %k, %v pattern(#megactx.pattern<dense>) : (!t, !t) -> !s
    %a = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
    scf.yield %a : !t
  } else {
    %s0 = megactx.source %k, %v pattern(#megactx.pattern<dense>) : (!t, !t) -> !s
    %a = megactx.attention %q, %s0 {scale = 1.0 : f32} : (!t, !s) -> !t
    %s1 = megactx.source %a, %v pattern(#megactx.pattern<dense>) : (!t, !t) -> !s
    %b = megactx.attention %q, %s1 {scale = 1.0 : f32} : (!t, !s) -> !t
    scf.yield %b : !t
  }
  %s = megactx.source %r, %v pattern(#megactx.pattern<dense>) : (!t, !t) -> !s
  %c = megactx.attention %q, %s {kind = "cross", scale = 1.0 : f32} : (!t, !s) -> !t
  return %c : !t
}

//--- policy.json
{"rules": [{"layers": "0", "pattern": "strided<stride = 4>"},
           {"layers": "1", "schedule": [{"until_step": 100, "pattern": "block_local<block = 8>"},
                                        {"pattern": "window<left = 1, right = 1>"}]},
           {"layers": "2", "kind": "cross", "pattern": "columns<block = 8, first = 0, count = 1>"}]}

//--- absent-layer.json
{"rules": [{"layers": "7", "pattern": "strided<stride = 4>"}]}

//--- other-key.json
{"rules": [{"schedule": [{"until_step": 5, "heads": "0", "pattern": "dense"}, {"pattern": "causal"}]}]}

//--- idle.json
{"rules": [{"pattern": "strided<stride = 4>"}, {"layers": "0-1", "kind": "cross", "pattern": "block_local<block = 8>"}]}
