// RUN: split-file %s %t
// RUN: megactx-opt %t/classes.mlir --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a | FileCheck %t/classes.mlir
// RUN: megactx-opt %t/classes.mlir --megactx-convert-attention-to-nvgpu-kernels='arch=sm_90a schedules=%t/good.json' | FileCheck %t/classes.mlir --check-prefix=FILE
// RUN: megactx-opt %t/classes.mlir --megactx-convert-attention-to-nvgpu-kernels='arch=sm_90 schedules=%t/good.json' | FileCheck %t/classes.mlir --check-prefix=OTHER
// RUN: megactx-opt %t/classes.mlir --megactx-convert-attention-to-nvgpu-kernels='arch=sm_90a schedules=%t/good.json schedule="#nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = mma_sync, held = false, blocks = 1>"' | FileCheck %t/classes.mlir --check-prefix=OPTION

//--- good.json
{"schedules": {
  "sm_80": {"bf16 64 long": {"schedule": "#nvx.schedule<rows = 16, columns = 16, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 1>"}},
  "sm_90a": {
    "bf16 64 long": {"schedule": "#nvx.schedule<rows = 192, columns = 64, warps = 12, stages = 3, product = wgmma, held = false, blocks = 1>", "speedup": 1.1},
    "bf16 64 views": {"schedule": "#nvx.schedule<rows = 128, columns = 32, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1>"},
    "f16 512 of nothing here": {"schedule": "#nvx.schedule<rows = 16, columns = 16, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 1>"}}}}

//--- classes.mlir
!q = memref<?x?x?x64xbf16>
!l = memref<?x?x?xf32>
!bias = memref<?x?x?x?xf32>
!perkey = memref<?x?x1x?xf32>
!v = memref<?x?x?x32xbf16>
!one = memref<1x8x1x64xbf16>
!onel = memref<1x8x1xf32>

// CHECK-LABEL: func @long
// CHECK: gpu.launch_func {{.*}} {megactx.schedule_class = "bf16 64 long", nvx.schedule = #nvx.schedule<rows = 64, {{.*}}product = wgmma,
// FILE-LABEL: func @long
// FILE: nvx.schedule = #nvx.schedule<rows = 192, columns = 64, warps = 12, stages = 3,
// Another architecture's are not its.
// OTHER-LABEL: func @long
// OTHER: nvx.schedule = #nvx.schedule<rows = 64, columns = 64, {{.*}} mma_sync
// OPTION-LABEL: func @long
// OPTION: nvx.schedule = #nvx.schedule<rows = 128, columns = 64, warps = 8, {{.*}} mma_sync
func.func @long(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// What the operation says comes first.
// FILE-LABEL: func @chosen
// FILE: nvx.schedule = #nvx.schedule<rows = 64, columns = 16,
func.func @chosen(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32,
      nvx.schedule = #nvx.schedule<rows = 64, columns = 16, warps = 4, stages = 2, product = mma_sync, held = false, blocks = 1>}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// What the file has no entry for is by rule.
// CHECK-LABEL: func @band
// CHECK: megactx.schedule_class = "bf16 64 band"
// FILE-LABEL: func @band
// FILE: nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma,
func.func @band(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK-LABEL: func @views
// CHECK: megactx.schedule_class = "bf16 64 views"
// FILE-LABEL: func @views
// FILE: nvx.schedule = #nvx.schedule<rows = 128, columns = 32,
func.func @views(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>, digits<2, [0]: [0], [1]: [1]>>] {scale = 0.125 : f32}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK-LABEL: func @columns
// CHECK: megactx.schedule_class = "bf16 64 long gathered"
func.func @columns(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>, digits<2, [0, 1]: [1]>>] {scale = 0.125 : f32}
      : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK-LABEL: func @options
// CHECK: megactx.schedule_class = "bf16 64x32 long test bias softcap"
func.func @options(%q: !q, %k: !q, %v: !v, %b: !bias, %o: !v, %lse: !l) {
  megactx.fused_attention %q, %k, %v bias(%b) outs(%o, %lse) [#megactx.piece<hi<p + 1>, test<(p mod 5000) == (k mod 5000)>>]
      {scale = 0.125 : f32, softcap = 30.0 : f32} : (!q, !q, !v, !bias, !v, !l) -> ()
  return
}

// CHECK-LABEL: func @bias_per_key
// CHECK: megactx.schedule_class = "bf16 64 long bias-per-key"
func.func @bias_per_key(%q: !q, %k: !q, %v: !q, %b: !perkey, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v bias(%b) outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32} : (!q, !q, !q, !perkey, !q, !l) -> ()
  return
}

// CHECK-LABEL: func @one_row
// CHECK: megactx.schedule_class = "bf16 64 long rows<=16"
func.func @one_row(%q: !one, %k: !q, %v: !q, %o: !one, %lse: !onel) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32} : (!one, !q, !q, !one, !onel) -> ()
  return
}
