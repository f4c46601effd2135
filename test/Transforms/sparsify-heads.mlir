// Rules for heads become runs of equal heads, however high their numbers are; a head that is not there is an error, also under a rule for all.
// RUN: split-file %s %t
// RUN: megactx-opt %t/any-heads.mlir --megactx-sparsify=policy=%t/runs.json | FileCheck %s --check-prefix=RUNS
// RUN: megactx-opt %t/any-heads.mlir --megactx-sparsify=policy=%t/high.json | FileCheck %s --check-prefix=HIGH
// RUN: not megactx-opt %t/two-heads.mlir --megactx-sparsify=policy=%t/absent.json 2>&1 | FileCheck %s --check-prefix=ABSENT

// RUNS: pattern(#megactx.pattern<per_head<0: dense, 1-4: causal, 5: strided<stride = 2>, 6-: causal>>)
// HIGH: pattern(#megactx.pattern<per_head<0-299999999: dense, 300000000: causal, 300000001-: dense>>)
// ABSENT: error: sparsify: policy '{{.*}}absent.json': rule 0: head 2 is not there, layer 0 has 2 heads

//--- any-heads.mlir
!t = tensor<1x?x?x8xf32>
func.func @heads_unknown(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<dense>) : (!t, !t) -> !megactx.source<!t, !t>
  %a = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !megactx.source<!t, !t>) -> !t
  return %a : !t
}

//--- two-heads.mlir
!t = tensor<1x2x?x8xf32>
func.func @two_heads(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<dense>) : (!t, !t) -> !megactx.source<!t, !t>
  %a = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !megactx.source<!t, !t>) -> !t
  return %a : !t
}

//--- runs.json
{"rules": [{"heads": "1-2", "pattern": "causal"}, {"heads": "3-", "pattern": "causal"}, {"heads": "5", "pattern": "strided<stride = 2>"}]}

//--- high.json
{"rules": [{"heads": "300000000", "pattern": "causal"}]}

//--- absent.json
{"rules": [{"heads": "2", "pattern": "causal"}, {"pattern": "strided<stride = 4>"}]}
