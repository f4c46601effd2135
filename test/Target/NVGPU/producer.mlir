// RUN: megactx-opt %s --megactx-convert-attention-to-nvgpu-kernels=arch=sm_90a | FileCheck %s

// A warp that only loads, in blocks that stay.

#s = #nvx.schedule<rows = 128, columns = 48, warps = 8, stages = 3, product = wgmma, held = false, blocks = 1, loads = tma, producer = true, persistent = true>
#once = #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 3, product = wgmma, held = false, blocks = 2, loads = tma, producer = true>
!q = memref<?x?x?x80xbf16>
!l = memref<?x?x?xf32>

// As many blocks as run at once, of four warps more than compute; queries come 64 rows at a time.
// CHECK-LABEL: func @dense
// CHECK-DAG: nvx.encode_tensor_map %{{.*}} box 64
// CHECK-DAG: nvx.encode_tensor_map %{{.*}} box 48
// CHECK: [[COUNT:%.*]] = nvx.multiprocessors
// CHECK: [[AT_ONCE:%.*]] = arith.muli [[COUNT]]
// CHECK: [[BLOCKS:%.*]] = arith.minsi %{{.*}}, [[AT_ONCE]]
// CHECK: [[THREADS:%.*]] = arith.constant 384
// CHECK: gpu.launch_func {{.*}} blocks in ([[BLOCKS]], %{{.*}}, %{{.*}}) threads in ([[THREADS]],
func.func @dense(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32, nvx.schedule = #s} : (!q, !q, !q, !q, !l) -> ()
  return
}

// A block for each unit of work.
// CHECK-LABEL: func @causal
// CHECK-NOT: nvx.multiprocessors
// CHECK: [[THREADS:%.*]] = arith.constant 256
// CHECK: gpu.launch_func {{.*}} threads in ([[THREADS]],
func.func @causal(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32, nvx.schedule = #once} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK-LABEL: gpu.func @mctx_attention_0
// CHECK-SAME: [[QUERIES:%[^ ]*]]: !nvx.tensor_map, [[KEYS:%[^ ]*]]: !nvx.tensor_map, [[VALUES:%[^ ]*]]: !nvx.tensor_map)
// CHECK-SAME: known_block_size = array<i32: 384, 1, 1>
// Three stages, full and empty, and queries of two warpgroups, full and empty.
// CHECK: memref.view {{.*}} to memref<10xi64, #gpu.address_space<workgroup>>
// CHECK: nvvm.elect.sync
// CHECK-COUNT-10: nvvm.mbarrier.init
// CHECK-NOT: nvvm.mbarrier.init
// CHECK: gpu.barrier
// CHECK-NOT: gpu.barrier

// Who computes asks for nothing.
// CHECK: scf.if
// CHECK-NEXT: nvvm.setmaxregister increase 232
// CHECK: scf.while
// CHECK-NOT: nvx.load_box
// Queries of a unit; of other warpgroups' tiles, those before its own.
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK: scf.for
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK: nvvm.mbarrier.arrive
// A tile is released when its products have ended.
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK: nvx.wgmma_wait 0
// CHECK: nvvm.mbarrier.arrive
// CHECK: scf.for
// CHECK: nvvm.mbarrier.try_wait.parity
// The warpgroup waits for its turn, and lets the next start products.
// CHECK: nvvm.barrier id = %{{.*}} number_of_threads
// CHECK: nvx.wgmma
// CHECK-NOT: nvx.wgmma_wait
// CHECK: llvm.call_intrinsic "llvm.nvvm.barrier.cta.arrive.aligned.count"
// CHECK: nvx.wgmma_wait 1
// CHECK: nvx.wgmma_wait 0 after
// CHECK: nvvm.mbarrier.arrive
// CHECK: scf.yield
// Zeros behind the last value are made by all who compute, and by nobody else.
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK: [[ID:%.*]] = arith.constant 1 : i32
// CHECK: [[THREADS:%.*]] = arith.constant 256 : i32
// CHECK: nvvm.barrier id = [[ID]] number_of_threads = [[THREADS]]
// Queries are released before results are written.
// CHECK: nvvm.mbarrier.arrive
// CHECK: vector.store

// CHECK: nvvm.setmaxregister decrease 40
// CHECK: nvvm.elect.sync
// CHECK: scf.while
// Queries of each warpgroup, once those of the unit before are released.
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK-COUNT-2: nvx.load_box [[QUERIES]]
// CHECK: nvvm.mbarrier.arrive
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK-COUNT-2: nvx.load_box [[QUERIES]]
// CHECK: nvvm.mbarrier.arrive
// The first keys; then keys, and values of the tile before.
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK: [[BYTES:%.*]] = arith.constant 12288 : i32
// CHECK: nvvm.mbarrier.expect_tx %{{.*}}, [[BYTES]]
// CHECK-COUNT-2: nvx.load_box [[KEYS]]
// CHECK: nvvm.mbarrier.arrive
// CHECK: scf.for
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK-COUNT-2: nvx.load_box [[KEYS]]
// CHECK-COUNT-2: nvx.load_box [[VALUES]]
// CHECK: nvvm.mbarrier.arrive
// CHECK-NOT: gpu.barrier
// CHECK: gpu.return

// Half of a multiprocessor's registers, of two warpgroups.
// CHECK-LABEL: gpu.func @mctx_attention_1
// CHECK: nvvm.setmaxregister increase 216
// CHECK: nvvm.setmaxregister decrease 40
