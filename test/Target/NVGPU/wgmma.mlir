// RUN: megactx-opt %s "--megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a schedule='#nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 4>'" | FileCheck %s

// The values of a tile are multiplied while the next tile's softmax runs.

!q = memref<?x?x?x64xbf16>
!l = memref<?x?x?xf32>
// CHECK-LABEL: gpu.func @mctx_attention_0
// The first tile has no weights of a tile before it.
// Queries and the first keys have one wait.
// CHECK-NOT: nvvm.fence.proxy
// CHECK: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
// CHECK-NEXT: gpu.barrier
// CHECK: nvvm.wgmma.fence.aligned
// CHECK-COUNT-4: nvx.wgmma {{.*}} -> vector<8x2x2xf32>
// CHECK: nvvm.wgmma.commit.group.sync.aligned
// CHECK: nvx.wgmma_wait 0,
// CHECK: nvx.exp2
// CHECK-NOT: nvx.wgmma
// CHECK: scf.for
// CHECK: nvvm.fence.proxy
// CHECK: gpu.barrier
// CHECK-COUNT-4: nvx.wgmma {{.*}} -> vector<8x2x2xf32>
// CHECK: nvvm.wgmma.commit.group.sync.aligned
// CHECK: nvvm.wgmma.fence.aligned
// CHECK-COUNT-4: nvx.wgmma {{.*}} transpose {{.*}} -> vector<8x2x2xf32>
// CHECK: nvvm.wgmma.commit.group.sync.aligned
// CHECK: nvgpu.device_async_copy
// CHECK: nvx.wgmma_wait 1, %{{.*}} : vector<8x2x2xf32>
// CHECK: nvx.exp2
// The output shrinks only where a row's maximum grew by much.
// CHECK: [[GREW:%.*]] = nvvm.vote.sync any
// CHECK: nvx.wgmma_wait 0 after %{{.*}}, %{{.*}}, %{{.*}} : vector<8x2x2xf32>, vector<8x2x2xf32>
// CHECK: scf.if [[GREW]]
// CHECK-NEXT: arith.mulf
// CHECK: arith.truncf
// CHECK: scf.yield
// CHECK-COUNT-4: nvx.wgmma {{.*}} transpose {{.*}} -> vector<8x2x2xf32>
// CHECK: nvx.wgmma_wait 0, %{{.*}} : vector<8x2x2xf32>
func.func @causal(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}
