// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s
// RUN: megactx-opt %s --megactx-raise-onnx-attention --remarks-filter=raise-onnx-attention 2>&1 | FileCheck %s --check-prefix=REMARK

!x = tensor<?x?x32xf32>
!k = tensor<?x?x16xf32>
!p = tensor<?x2x?x8xf32>
!n = tensor<?xi64>

// The new rows are written at each entry's place, queries stand there, and keys end at each entry's length.
// CHECK-LABEL: @cache
// CHECK-SAME: [[OLD:%[a-z0-9]+]]: tensor<?x2x?x8xf32>
// CHECK: [[STARTS:%.*]] = arith.index_cast %{{.*}} : tensor<?xi64> to tensor<?xindex>
// CHECK: cf.assert {{.*}} "total_sequence_length is not between
// CHECK: cf.assert {{.*}} "a batch entry has more keys
// CHECK: linalg.generic {{.*}} ins([[STARTS]] : tensor<?xindex>)
// CHECK: [[KEYS:%.*]] = tensor.extract_slice
// CHECK: [[VALUES:%.*]] = tensor.extract_slice
// CHECK: [[LENGTHS:%.*]] = arith.index_cast
// CHECK: [[SOURCE:%.*]] = megactx.source [[KEYS]], [[VALUES]] lengths([[LENGTHS]]) pattern(#megactx.pattern<window<left = 3, right = 0>>)
// CHECK: megactx.attention %{{.*}}, [[SOURCE]] offset([[STARTS]]) {scale = 0.353553385 : f32}
// CHECK-NOT: CachedAttention
// REMARK: attention-raised{{.*}}window<left = 3, right = 0>
func.func @cache(%x: !x, %k: !k, %old: !p, %s: !n, %l: !n, %t: tensor<1xi64>) -> (!x, !p, !p) {
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %old, %old, %s, %l, %t
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, scale = 0.0 : f32, softcap = 0.0 : f32, pattern = "window<left = 3, right = 0>"}
      : (!x, !k, !k, !p, !p, !n, !n, tensor<1xi64>) -> (!x, !p, !p)
  return %o#0, %o#1, %o#2 : !x, !p, !p
}

// A sink takes its share by the log-sum-exp; without a cache the new rows are all there is.
// CHECK-LABEL: @sink
// CHECK-NOT: tensor.extract_slice
// CHECK: [[OUT:%.*]], [[LSE:%.*]] = megactx.attention
// CHECK: [[ROWS:%.*]] = onnx.Unsqueeze [[LSE]],
// CHECK: [[LESS:%.*]] = onnx.Sub [[ROWS]],
// CHECK: onnx.Sigmoid [[LESS]]
func.func @sink(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>, %sink: tensor<4xf32>) -> !x {
  %none = onnx.none
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %sink
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, pattern = "causal"}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, tensor<4xf32>) -> (!x, !p, !p)
  return %o#0 : !x
}

// REMARK: attention-not-raised{{.*}}its operands have no known rank 3
// CHECK-LABEL: @unknown_rank
// CHECK: CachedAttention{{.*}}megactx.reason = "its operands have no known rank 3"
func.func @unknown_rank(%x: tensor<*xf32>, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> tensor<*xf32> {
  %none = onnx.none
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t {num_heads = 4 : i64, kv_num_heads = 2 : i64}
      : (tensor<*xf32>, !k, !k, none, none, !n, !n, tensor<1xi64>) -> (tensor<*xf32>, !p, !p)
  return %o#0 : tensor<*xf32>
}
