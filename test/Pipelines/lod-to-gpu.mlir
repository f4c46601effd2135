// What edits a working context has no round trip to the host: two loops are kernels, and the host waits for nothing: which check failed is told behind the run.
// RUN: megactx-compile %s --target=sm_80 --compile-to=loops -o - --remarks-filter=fuse-lod 2>%t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.err

// REMARK: [Passed] map-fused | Category:fuse-lod | Function=main | Remark="done where the sums before it end, in one loop"

// CHECK: func.func @main
// CHECK-NOT: gpu.memcpy
// CHECK-NOT: memref.load
// CHECK: call @mctx_rt_report_checks
// CHECK-NOT: gpu.memcpy
// CHECK-NOT: memref.load
// CHECK: return
!ints = tensor<?x?xi64>
!rows = tensor<?x?x8xf32>
func.func @main(%f: !rows, %w: tensor<8xf32>, %l: !ints, %p: !ints, %c: !rows, %x: !rows, %g: !rows) -> (tensor<?x64x8xf32>, tensor<?x64xi64>, tensor<?x64xi64>) {
  %s = megactx.lens_score %f, %w lods(%l) {top = 1} : (!rows, tensor<8xf32>, !ints) -> tensor<?x?xf32>
  %e = megactx.focus_allocate %s, %l, %p {ratio = 4, top = 1, expand_threshold = 0.25 : f32, collapse_threshold = 0.25 : f32, recent = 8, max_edits = 4, budget = 64}
      : (tensor<?x?xf32>, !ints, !ints) -> !ints
  %r:4 = megactx.focus_apply %c, %l, %p, %e levels(%x, %g) {ratio = 4, budget = 64}
      : (!rows, !ints, !ints, !ints, !rows, !rows) -> (tensor<?x64x8xf32>, tensor<?x64xi64>, tensor<?x64xi64>, tensor<?xindex>)
  return %r#0, %r#1, %r#2 : tensor<?x64x8xf32>, tensor<?x64xi64>, tensor<?x64xi64>
}
