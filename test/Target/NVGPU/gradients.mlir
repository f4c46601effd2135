// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a --canonicalize | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_86 | FileCheck %s --check-prefix=SMALL

!q = memref<1x8x?x64xbf16>
!k = memref<1x2x?x64xbf16>
!row = memref<1x8x?xf32>
!dq = memref<1x8x?x64xf32>
!dk = memref<1x2x?x64xf32>

// A block of queries for each head, and of keys for each head of theirs; the
// measured schedules are of attention.
// CHECK-LABEL: @of_queries_and_keys
// CHECK: gpu.launch_func @{{.*}}::@[[QUERIES:mctx_attention_[0-9]+]] blocks in (%{{.*}}, %c8, %c1) threads in (%c128, %c1, %c1)
// CHECK-NOT: schedule_class
// CHECK: gpu.launch_func @{{.*}}::@[[KEYS:mctx_attention_[0-9]+]] blocks in (%{{.*}}, %c2, %c1) threads in (%c128, %c1, %c1)
// CHECK-NOT: schedule_class
// CHECK: return
func.func @of_queries_and_keys(%q: !q, %k: !k, %row: !row, %dq: !dq, %dk: !dk, %dv: !dk) {
  megactx.fused_query_gradient %q, %k, %k lse(%row) delta(%row) dout(%q) outs(%dq) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!q, !k, !k, !row, !row, !q, !dq) -> ()
  megactx.fused_key_gradient %q, %k, %k lse(%row) delta(%row) dout(%q) outs(%dk, %dv) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (!q, !k, !k, !row, !row, !q, !dk, !dk) -> ()
  return
}

// Scores and <dout, v> of a tile, masked unless all see it, then dq: three
// products; the bounds of keys are in closed form.
// CHECK: gpu.func @[[QUERIES]](
// CHECK-SAME: nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = mma_sync, held = false, blocks = 2>
// CHECK-NOT: scf.while
// CHECK: scf.for
// CHECK: nvgpu.device_async_wait
// CHECK-COUNT-32: nvx.mma_sync
// CHECK: scf.if
// CHECK: else
// CHECK: arith.select {{.*}} : vector<2x2xi1>, vector<2x2xf32>
// CHECK-COUNT-64: nvx.mma_sync
// CHECK-NOT: nvx.mma_sync
// CHECK: scf.yield
// CHECK: vector.load {{.*}} : memref<?x?x?x64xf32
// CHECK: vector.store {{.*}} : memref<?x?x?x64xf32

// Queries by bisection; for each head that reads the keys their tiles, with four
// products; what queries have is in shared memory beside them.
// CHECK: gpu.func @[[KEYS]](
// CHECK: scf.for
// CHECK: scf.while
// CHECK: scf.while
// CHECK: scf.for
// CHECK: nvgpu.device_async_wait
// CHECK: memref.store {{.*}} : memref<128xf32, #gpu.address_space<workgroup>>
// CHECK: memref.store {{.*}} : memref<128xi32, #gpu.address_space<workgroup>>
// CHECK-COUNT-128: nvx.mma_sync
// CHECK-NOT: nvx.mma_sync
// CHECK: scf.yield

// Blocks of queries for which a test holds nowhere are not come to: the block's
// threads vote on them.
// CHECK: gpu.func
// CHECK: nvvm.vote.sync ballot
func.func @blocks(%q: !q, %k: !k, %row: !row, %dk: !dk, %dv: !dk) {
  megactx.fused_key_gradient %q, %k, %k lse(%row) delta(%row) dout(%q) outs(%dk, %dv)
      [#megactx.piece<test<table([1, 0, 0, 1], ((p floordiv 64) * 2) + (k floordiv 64))>>] {scale = 1.0 : f32}
      : (!q, !k, !k, !row, !row, !q, !dk, !dk) -> ()
  return
}

// Blocks of fewer rows where shared memory has no room for 64.
// SMALL-DAG: gpu.func {{.*}}64xbf16{{.*}}<rows = 64, columns = 64, warps = 4,
// SMALL-DAG: gpu.func {{.*}}128xf32{{.*}}<rows = 32, columns = 16, warps = 2,
!f = memref<1x8x?x128xf32>
func.func @large_elements(%q: !f, %row: !row, %dk: !f, %dv: !f) {
  megactx.fused_key_gradient %q, %q, %q lse(%row) delta(%row) dout(%q) outs(%dk, %dv) [#megactx.piece<all>] {scale = 1.0 : f32}
      : (!f, !f, !f, !row, !row, !f, !f, !f) -> ()
  return
}
