// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a | FileCheck %s

// Tiles as boxes of tensor maps, and those that are none.

#s = #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 3, product = wgmma, held = false, blocks = 2, loads = tma>
!q = memref<?x?x?x80xbf16>
!l = memref<?x?x?xf32>

// CHECK-LABEL: func @dense
// CHECK: [[QUERIES:%.*]] = nvx.encode_tensor_map %{{.*}} box 64
// CHECK: [[KEYS:%.*]] = nvx.encode_tensor_map %{{.*}} box 48
// CHECK: [[VALUES:%.*]] = nvx.encode_tensor_map %{{.*}} box 48
// CHECK: gpu.launch_func {{.*}}[[QUERIES]] : !nvx.tensor_map, [[KEYS]] : !nvx.tensor_map, [[VALUES]] : !nvx.tensor_map)
func.func @dense(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32, nvx.schedule = #s} : (!q, !q, !q, !q, !l) -> ()
  return
}

// No piece has boxes.
// CHECK-LABEL: func @strided
// CHECK-NOT: nvx.encode_tensor_map
// CHECK: gpu.launch_func
func.func @strided(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<digits<3, [0]: [0], [1]: [1], [2]: [2]>>]
      {scale = 0.125 : f32, nvx.schedule = #s} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK-SAME: [[QUERIES:%[^ ]*]]: !nvx.tensor_map, [[KEYS:%[^ ]*]]: !nvx.tensor_map, [[VALUES:%[^ ]*]]: !nvx.tensor_map)
// A barrier for each stage and one of the queries, each of one thread.
// CHECK: [[BARRIERS:%.*]] = memref.view {{.*}} to memref<4xi64, #gpu.address_space<workgroup>>
// CHECK: nvvm.elect.sync
// CHECK-COUNT-4: nvvm.mbarrier.init
// CHECK-NOT: nvvm.mbarrier.init
// CHECK: nvvm.fence.proxy
// CHECK: gpu.barrier
// CHECK: nvvm.elect.sync
// CHECK: [[BYTES:%.*]] = arith.constant 16384 : i32
// CHECK: nvvm.mbarrier.expect_tx %{{.*}}, [[BYTES]]
// CHECK-COUNT-2: nvx.load_box [[QUERIES]]
// CHECK: nvvm.mbarrier.arrive
// Two groups are begun ahead: keys, whose two panels of 48 rows have 12288 bytes; keys and values.
// CHECK: nvvm.elect.sync
// CHECK: [[BYTES:%.*]] = arith.constant 12288 : i32
// CHECK: nvvm.mbarrier.expect_tx %{{.*}}, [[BYTES]]
// CHECK-COUNT-2: nvx.load_box [[KEYS]]
// CHECK: nvvm.mbarrier.arrive
// CHECK: nvvm.elect.sync
// CHECK-COUNT-2: nvx.load_box [[KEYS]]
// CHECK-COUNT-2: nvx.load_box [[VALUES]]
// CHECK: nvvm.mbarrier.arrive
// Queries, then the first group.
// CHECK-COUNT-2: nvvm.mbarrier.try_wait.parity
// CHECK: scf.for
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK-NEXT: gpu.barrier
// CHECK: nvvm.wgmma.commit.group.sync.aligned
// CHECK: nvvm.elect.sync
// CHECK-COUNT-2: nvx.load_box [[KEYS]]
// CHECK-COUNT-2: nvx.load_box [[VALUES]]
// CHECK: nvvm.mbarrier.arrive
// CHECK: nvx.wgmma_wait 1
// CHECK: scf.yield
// The last values, and zeros behind the last of them.
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK: scf.for
// CHECK: llvm.store
// CHECK: nvvm.fence.proxy
// CHECK-NEXT: gpu.barrier
// CHECK: nvx.wgmma {{.*}} transpose

// CHECK-LABEL: gpu.func @mctx_attention_1
// CHECK-NOT: nvx.tensor_map
// CHECK-NOT: nvvm.mbarrier
// CHECK: gpu.return
