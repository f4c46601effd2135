// RUN: split-file %s %t
// RUN: megactx-opt %t/cache.mlir --megactx-raise-onnx-attention=caches-in-place | FileCheck %s
// RUN: megactx-opt %t/cache.mlir --megactx-raise-onnx-attention | FileCheck %s --check-prefix=COPIED
// RUN: megactx-compile %t/cache.mlir --caches-in-place --compile-to=memref -o - | FileCheck %s --check-prefix=MEMORY
// RUN: not megactx-opt %t/read.mlir --megactx-raise-onnx-attention=caches-in-place --megactx-caches-in-place 2>&1 | FileCheck %s --check-prefix=READ

// Rows are put into the argument, entry by entry, which attention reads then; the result says which one it is.
// CHECK-LABEL: func.func @main
// CHECK-SAME: [[KEYS:%[a-z0-9]+]]: tensor<?x2x?x8xf32> {onnx.name = "k"}, [[VALUES:%[a-z0-9]+]]: tensor<?x2x?x8xf32> {onnx.name = "v"}
// CHECK-SAME: -> (tensor<?x?x32xf32>, tensor<?x2x?x8xf32> {megactx.updates = 2 : i64}, tensor<?x2x?x8xf32> {megactx.updates = 3 : i64})
// CHECK: cf.assert %{{.*}}, "a cache that is written in place has no room for all tokens"
// CHECK: [[ALL:%.*]] = scf.for %[[ENTRY:.*]] = %{{.*}} iter_args([[SO:%.*]] = [[KEYS]])
// CHECK: [[PART:%.*]] = tensor.extract_slice %{{.*}}[%[[ENTRY]], 0, %{{.*}}, 0] [1, 2, %{{.*}}, 8]
// CHECK: tensor.insert_slice [[PART]] into [[SO]][%[[ENTRY]], 0, %{{.*}}, 0] [1, 2, %{{.*}}, 8]
// CHECK: scf.for {{.*}} iter_args({{.*}} = [[VALUES]])
// CHECK: tensor.extract_slice [[ALL]]
// CHECK-NOT: CachedAttention
// COPIED-LABEL: func.func @main
// COPIED-NOT: megactx.updates
// COPIED-NOT: scf.for

// Nothing is as large as the caches but these, and they are no results.
// MEMORY-LABEL: func.func @main
// MEMORY-SAME: [[K:%[a-z0-9]+]]: memref<?x2x?x8xf32> {{{.*}}onnx.name = "k"}, [[V:%[a-z0-9]+]]: memref<?x2x?x8xf32>
// MEMORY-SAME: -> memref<?x?x32xf32> attributes {megactx.updated = [{attrs = {megactx.updates = 2 : i64}, result = 1 : i64, type = memref<?x2x?x8xf32>}
// MEMORY-NOT: memref.alloc{{.*}}x2x
// MEMORY: [[PLACE:%.*]] = memref.subview [[K]]
// MEMORY: memref.copy %{{.*}}, [[PLACE]]
// MEMORY: [[FIRST:%.*]] = memref.subview [[K]]
// MEMORY: [[SECOND:%.*]] = memref.subview [[V]]
// MEMORY: megactx.fused_attention %{{.*}}, [[FIRST]], [[SECOND]]

//--- cache.mlir
!x = tensor<?x?x32xf32>
!k = tensor<?x?x16xf32>
!p = tensor<?x2x?x8xf32>
!n = tensor<?xi64>
func.func @main(%x: !x, %n: !k, %k: !p {onnx.name = "k"}, %v: !p {onnx.name = "v"}, %s: !n, %l: !n, %t: tensor<1xi64>) -> (!x, !p, !p) {
  %o:3 = onnx.ai.megactx.CachedAttention %x, %n, %n, %k, %v, %s, %l, %t {num_heads = 4 : i64, kv_num_heads = 2 : i64, scale = 0.0 : f32, softcap = 0.0 : f32, pattern = "causal"}
      : (!x, !k, !k, !p, !p, !n, !n, tensor<1xi64>) -> (!x, !p, !p)
  return %o#0, %o#1, %o#2 : !x, !p, !p
}

// One cache for keys and values is read twice.
// READ: error: no cache can be written in place

//--- read.mlir
!x = tensor<?x?x32xf32>
!k = tensor<?x?x16xf32>
!p = tensor<?x2x?x8xf32>
!n = tensor<?xi64>
func.func @main(%x: !x, %n: !k, %k: !p, %s: !n, %l: !n, %t: tensor<1xi64>) -> (!x, !p, !p) {
  %o:3 = onnx.ai.megactx.CachedAttention %x, %n, %n, %k, %k, %s, %l, %t {num_heads = 4 : i64, kv_num_heads = 2 : i64, scale = 0.0 : f32, softcap = 0.0 : f32, pattern = "causal"}
      : (!x, !k, !k, !p, !p, !n, !n, tensor<1xi64>) -> (!x, !p, !p)
  return %o#0, %o#1, %o#2 : !x, !p, !p
}
