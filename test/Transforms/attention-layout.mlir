// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-attention-layout))' --split-input-file | FileCheck %s
// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-attention-layout{row-bytes=16}))' --split-input-file | FileCheck %s --check-prefix=WIDE
// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-attention-layout),megactx-separate-inits,one-shot-bufferize{bufferize-function-boundaries=1 function-boundary-type-conversion=identity-layout-map})' \
// RUN:   --split-input-file | FileCheck %s --check-prefix=MEMORY

// Queries, keys and values out of a joint projection, the result back in its order: nothing moves.
// CHECK-LABEL: @joint
// CHECK-SAME: %[[QKV:[^,]*]]: tensor<?x?x48xf32>
// CHECK-COUNT-2: megactx.transpose_view {{.*}} permutation = [0, 2, 1, 3] : tensor<?x?x2x8xf32> to tensor<?x2x?x8xf32>
// CHECK: %[[V:.*]] = megactx.transpose_view
// CHECK: %[[ROWS:.*]] = tensor.empty(%{{.*}}, %{{.*}}) : tensor<?x?x2x8xf32>
// CHECK: %[[OUT:.*]] = megactx.transpose_view %[[ROWS]] permutation = [0, 2, 1, 3]
// CHECK: %[[A:.*]]:2 = megactx.fused_attention %{{.*}}, %{{.*}}, %[[V]] outs(%[[OUT]],
// CHECK: %[[B:.*]]:2 = megactx.fused_attention {{.*}} outs(%[[A]]#0, %[[A]]#1)
// CHECK: %[[R:.*]] = megactx.transpose_view %[[B]]#0 permutation = [0, 2, 1, 3]
// CHECK: return %[[R]]

// MEMORY-LABEL: @joint
// MEMORY: memref.transpose {{.*}} : memref<?x?x2x8xf32, strided<[?, 48, 8, 1]>> to memref<?x2x?x8xf32, strided<[?, 8, 48, 1]>>
// MEMORY: memref.transpose {{.*}} offset: 16>> to memref<?x2x?x8xf32, strided<[?, 8, 48, 1], offset: 16>>
// MEMORY: memref.transpose {{.*}} offset: 32>> to memref<?x2x?x8xf32, strided<[?, 8, 48, 1], offset: 32>>
// MEMORY: %[[ROWS:.*]] = memref.alloc(%{{.*}}, %{{.*}}) {{.*}} : memref<?x?x2x8xf32>
// MEMORY: memref.transpose %[[ROWS]]
// MEMORY-NOT: memref.copy
// MEMORY: return %[[ROWS]] : memref<?x?x2x8xf32>
#move = affine_map<(b, n, h, d) -> (b, h, n, d)>
#id = affine_map<(b, n, h, d) -> (b, n, h, d)>
func.func @joint(%qkv: tensor<?x?x48xf32>, %b: index, %n: index) -> tensor<?x?x2x8xf32> {
  %empty = tensor.empty(%b, %n) : tensor<?x2x?x8xf32>
  %lse = tensor.empty(%b, %n) : tensor<?x2x?xf32>
  %back = tensor.empty(%b, %n) : tensor<?x?x2x8xf32>
  %0 = tensor.extract_slice %qkv[0, 0, 0] [%b, %n, 16] [1, 1, 1] : tensor<?x?x48xf32> to tensor<?x?x16xf32>
  %1 = tensor.extract_slice %qkv[0, 0, 16] [%b, %n, 16] [1, 1, 1] : tensor<?x?x48xf32> to tensor<?x?x16xf32>
  %2 = tensor.extract_slice %qkv[0, 0, 32] [%b, %n, 16] [1, 1, 1] : tensor<?x?x48xf32> to tensor<?x?x16xf32>
  %q4 = tensor.expand_shape %0 [[0], [1], [2, 3]] output_shape [%b, %n, 2, 8] : tensor<?x?x16xf32> into tensor<?x?x2x8xf32>
  %k4 = tensor.expand_shape %1 [[0], [1], [2, 3]] output_shape [%b, %n, 2, 8] : tensor<?x?x16xf32> into tensor<?x?x2x8xf32>
  %v4 = tensor.expand_shape %2 [[0], [1], [2, 3]] output_shape [%b, %n, 2, 8] : tensor<?x?x16xf32> into tensor<?x?x2x8xf32>
  %q = linalg.transpose ins(%q4 : tensor<?x?x2x8xf32>) outs(%empty : tensor<?x2x?x8xf32>) permutation = [0, 2, 1, 3]
  %k = linalg.generic {indexing_maps = [#id, #move], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%k4 : tensor<?x?x2x8xf32>) outs(%empty : tensor<?x2x?x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  } -> tensor<?x2x?x8xf32>
  %v = linalg.transpose ins(%v4 : tensor<?x?x2x8xf32>) outs(%empty : tensor<?x2x?x8xf32>) permutation = [0, 2, 1, 3]
  %a:2 = megactx.fused_attention %q, %k, %v outs(%empty, %lse) [#megactx.piece<lo<p - 3>, hi<p + 1>>] {scale = 1.0 : f32}
      : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?xf32>) -> (tensor<?x2x?x8xf32>, tensor<?x2x?xf32>)
  %c:2 = megactx.fused_attention %q, %k, %v outs(%a#0, %a#1) [#megactx.piece<hi<p - 3>>] {accumulate, scale = 1.0 : f32}
      : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?xf32>) -> (tensor<?x2x?x8xf32>, tensor<?x2x?xf32>)
  %r = linalg.generic {indexing_maps = [#move, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%c#0 : tensor<?x2x?x8xf32>) outs(%back : tensor<?x?x2x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  } -> tensor<?x?x2x8xf32>
  return %r : tensor<?x?x2x8xf32>
}

// -----

// Keys that are also a result are copied for it anyway; a transpose within rows is a copy; a result of other than
// attention's making is not written elsewhere.
// CHECK-LABEL: @stays
// CHECK: linalg.transpose
// CHECK: linalg.transpose
// CHECK-NOT: transpose_view
// CHECK: megactx.fused_attention
// CHECK: linalg.transpose
func.func @stays(%q: tensor<1x2x?x8xf32>, %k: tensor<1x?x2x8xf32>, %v: tensor<1x2x8x?xf32>, %start: tensor<1x2x?x8xf32>, %n: index)
    -> (tensor<1x?x2x8xf32>, tensor<1x2x?x8xf32>) {
  %empty = tensor.empty(%n) : tensor<1x2x?x8xf32>
  %back = tensor.empty(%n) : tensor<1x?x2x8xf32>
  %lse = tensor.empty(%n) : tensor<1x2x?xf32>
  %kt = linalg.transpose ins(%k : tensor<1x?x2x8xf32>) outs(%empty : tensor<1x2x?x8xf32>) permutation = [0, 2, 1, 3]
  %vt = linalg.transpose ins(%v : tensor<1x2x8x?xf32>) outs(%empty : tensor<1x2x?x8xf32>) permutation = [0, 1, 3, 2]
  %a:2 = megactx.fused_attention %q, %kt, %vt outs(%start, %lse) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?xf32>) -> (tensor<1x2x?x8xf32>, tensor<1x2x?xf32>)
  %r = linalg.transpose ins(%a#0 : tensor<1x2x?x8xf32>) outs(%back : tensor<1x?x2x8xf32>) permutation = [0, 2, 1, 3]
  return %r, %kt : tensor<1x?x2x8xf32>, tensor<1x2x?x8xf32>
}

// -----

// A slice from the second column on, and one of every other column.
// CHECK-LABEL: @unaligned
// CHECK-SAME: %[[Q:[^,]*]]: tensor<1x2x?x9xf32>, %[[V:[^,]*]]: tensor<1x2x?x16xf32>
// CHECK: %[[Q1:.*]] = tensor.extract_slice %[[Q]]
// CHECK: %[[V2:.*]] = tensor.extract_slice %[[V]]
// CHECK: %[[COPY:.*]] = bufferization.alloc_tensor() copy(%[[V2]])
// CHECK-NOT: alloc_tensor
// CHECK: megactx.fused_attention %[[Q1]], %{{.*}}, %[[COPY]]

// WIDE-LABEL: @unaligned
// WIDE: %[[Q1:.*]] = tensor.extract_slice
// WIDE: %[[V2:.*]] = tensor.extract_slice
// WIDE-DAG: %[[QCOPY:.*]] = bufferization.alloc_tensor() copy(%[[Q1]])
// WIDE-DAG: %[[VCOPY:.*]] = bufferization.alloc_tensor() copy(%[[V2]])
// WIDE-NOT: alloc_tensor
// WIDE: megactx.fused_attention %[[QCOPY]], %{{.*}}, %[[VCOPY]]
func.func @unaligned(%q: tensor<1x2x?x9xf32>, %v: tensor<1x2x?x16xf32>, %k: tensor<1x2x?x8xf32>, %n: index) -> tensor<1x2x?x8xf32> {
  %empty = tensor.empty(%n) : tensor<1x2x?x8xf32>
  %lse = tensor.empty(%n) : tensor<1x2x?xf32>
  %q1 = tensor.extract_slice %q[0, 0, 0, 1] [1, 2, %n, 8] [1, 1, 1, 1] : tensor<1x2x?x9xf32> to tensor<1x2x?x8xf32>
  %v2 = tensor.extract_slice %v[0, 0, 0, 0] [1, 2, %n, 8] [1, 1, 1, 2] : tensor<1x2x?x16xf32> to tensor<1x2x?x8xf32>
  %a:2 = megactx.fused_attention %q1, %k, %v2 outs(%empty, %lse) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?xf32>) -> (tensor<1x2x?x8xf32>, tensor<1x2x?xf32>)
  return %a#0 : tensor<1x2x?x8xf32>
}

// -----

// Views of rows that a GPU's copies cannot take are copies as before.
// CHECK-LABEL: @narrow_rows
// CHECK: megactx.transpose_view
// WIDE-LABEL: @narrow_rows
// WIDE-NOT: transpose_view
// WIDE: linalg.transpose
func.func @narrow_rows(%k: tensor<1x?x2x10xf16>, %q: tensor<1x2x?x8xf16>, %n: index) -> tensor<1x2x?x8xf16> {
  %empty = tensor.empty(%n) : tensor<1x2x?x8xf16>
  %lse = tensor.empty(%n) : tensor<1x2x?xf32>
  %k1 = tensor.extract_slice %k[0, 0, 0, 0] [1, %n, 2, 8] [1, 1, 1, 1] : tensor<1x?x2x10xf16> to tensor<1x?x2x8xf16>
  %kt = linalg.transpose ins(%k1 : tensor<1x?x2x8xf16>) outs(%empty : tensor<1x2x?x8xf16>) permutation = [0, 2, 1, 3]
  %a:2 = megactx.fused_attention %q, %kt, %kt outs(%empty, %lse) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>, tensor<1x2x?xf32>) -> (tensor<1x2x?x8xf16>, tensor<1x2x?xf32>)
  return %a#0 : tensor<1x2x?x8xf16>
}

// -----

// Elements out of a wider dim are no neighbours, whatever reshapes come after.
// CHECK-LABEL: @apart
// CHECK-NOT: transpose_view
// CHECK: linalg.transpose
// CHECK: megactx.fused_attention
func.func @apart(%q: tensor<1x2x5x8xf32>, %x: tensor<1x5x16x?xf32>) -> tensor<1x2x5x8xf32> {
  %empty = tensor.empty() : tensor<1x2x5x8xf32>
  %lse = tensor.empty() : tensor<1x2x5xf32>
  %rows = tensor.extract_slice %x[0, 0, 0, 0] [1, 5, 16, 1] [1, 1, 1, 1] : tensor<1x5x16x?xf32> to tensor<1x5x16xf32>
  %heads = tensor.expand_shape %rows [[0], [1], [2, 3]] output_shape [1, 5, 2, 8] : tensor<1x5x16xf32> into tensor<1x5x2x8xf32>
  %k = linalg.transpose ins(%heads : tensor<1x5x2x8xf32>) outs(%empty : tensor<1x2x5x8xf32>) permutation = [0, 2, 1, 3]
  %a:2 = megactx.fused_attention %q, %k, %k outs(%empty, %lse) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5xf32>) -> (tensor<1x2x5x8xf32>, tensor<1x2x5xf32>)
  return %a#0 : tensor<1x2x5x8xf32>
}

// -----

// A branch's result may be anywhere, and what stands beside others in a wider tensor where these end: both are copied where rows have to be aligned.
// CHECK-LABEL: @anywhere
// CHECK: %[[K:.*]] = scf.if
// CHECK: %[[COPY:.*]] = bufferization.alloc_tensor() copy(%[[K]])
// CHECK: megactx.fused_attention %{{.*}}, %[[COPY]]
// CHECK-NOT: alloc_tensor

// WIDE-LABEL: @anywhere
// WIDE: %[[Q:.*]] = linalg.generic
// WIDE: %[[QCOPY:.*]] = bufferization.alloc_tensor() copy(%[[Q]])
// WIDE: %[[A:.*]]:2 = megactx.fused_attention %[[QCOPY]]
// WIDE: %[[R:.*]] = bufferization.alloc_tensor() copy(%[[A]]#0)
// WIDE: tensor.insert_slice %[[R]]
#plain = affine_map<(b, h, n, d) -> (b, h, n, d)>
func.func @anywhere(%x: tensor<1x2x5x8xf16>, %y: tensor<1x2x5x3xf16>, %v: tensor<1x2x5x8xf16>, %w: tensor<1x2x5x16xf16>, %c: i1)
    -> (tensor<1x2x5x11xf16>, tensor<1x2x5x11xf16>) {
  %empty = tensor.empty() : tensor<1x2x5x8xf16>
  %wide = tensor.empty() : tensor<1x2x5x11xf16>
  %lse = tensor.empty() : tensor<1x2x5xf32>
  %k = scf.if %c -> tensor<1x2x5x8xf16> {
    %odd = tensor.extract_slice %w[0, 0, 0, 0] [1, 2, 5, 8] [1, 1, 1, 2] : tensor<1x2x5x16xf16> to tensor<1x2x5x8xf16>
    scf.yield %odd : tensor<1x2x5x8xf16>
  } else {
    scf.yield %v : tensor<1x2x5x8xf16>
  }
  %q = linalg.generic {indexing_maps = [#plain, #plain], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%x : tensor<1x2x5x8xf16>) outs(%empty : tensor<1x2x5x8xf16>) {
  ^bb0(%in: f16, %out: f16):
    %e = math.exp %in : f16
    linalg.yield %e : f16
  } -> tensor<1x2x5x8xf16>
  %a:2 = megactx.fused_attention %q, %k, %v outs(%empty, %lse) [#megactx.piece<hi<p + 1>>] {scale = 1.0 : f32}
      : (tensor<1x2x5x8xf16>, tensor<1x2x5x8xf16>, tensor<1x2x5x8xf16>, tensor<1x2x5x8xf16>, tensor<1x2x5xf32>) -> (tensor<1x2x5x8xf16>, tensor<1x2x5xf32>)
  %0 = tensor.insert_slice %y into %wide[0, 0, 0, 0] [1, 2, 5, 3] [1, 1, 1, 1] : tensor<1x2x5x3xf16> into tensor<1x2x5x11xf16>
  %1 = tensor.insert_slice %q into %0[0, 0, 0, 3] [1, 2, 5, 8] [1, 1, 1, 1] : tensor<1x2x5x8xf16> into tensor<1x2x5x11xf16>
  %2 = tensor.insert_slice %a#0 into %0[0, 0, 0, 3] [1, 2, 5, 8] [1, 1, 1, 1] : tensor<1x2x5x8xf16> into tensor<1x2x5x11xf16>
  return %1, %2 : tensor<1x2x5x11xf16>, tensor<1x2x5x11xf16>
}

// -----

// Rows that gradients read, and what goes over a row once besides.
// CHECK-LABEL: @gradients
// CHECK-NOT: linalg.transpose
// CHECK: %[[Q:.*]] = megactx.transpose_view %{{.*}} permutation = [0, 2, 1, 3]
// CHECK: %[[D:.*]] = megactx.transpose_view %{{.*}} permutation = [0, 2, 1, 3]
// CHECK: linalg.generic {{.*}} ins(%[[D]]
// CHECK: megactx.fused_query_gradient %[[Q]], {{.*}} dout(%[[D]])
// CHECK: megactx.fused_key_gradient %[[Q]], {{.*}} dout(%[[D]])
#all = affine_map<(b, h, n, d) -> (b, h, n, d)>
#row = affine_map<(b, h, n, d) -> (b, h, n)>
!rows = tensor<1x2x?x8xf32>
func.func @gradients(%qs: tensor<1x?x2x8xf32>, %ds: tensor<1x?x2x8xf32>, %k: !rows, %lse: tensor<1x2x?xf32>, %empty: !rows, %sum: tensor<1x2x?xf32>, %dq: !rows) -> (!rows, !rows) {
  %q = linalg.transpose ins(%qs : tensor<1x?x2x8xf32>) outs(%empty : !rows) permutation = [0, 2, 1, 3]
  %d = linalg.transpose ins(%ds : tensor<1x?x2x8xf32>) outs(%empty : !rows) permutation = [0, 2, 1, 3]
  %delta = linalg.generic {indexing_maps = [#all, #row], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%d : !rows) outs(%sum : tensor<1x2x?xf32>) {
  ^bb0(%x: f32, %y: f32):
    %0 = arith.addf %x, %y : f32
    linalg.yield %0 : f32
  } -> tensor<1x2x?xf32>
  %0 = megactx.fused_query_gradient %q, %k, %k lse(%lse) delta(%delta) dout(%d) outs(%dq) [#megactx.piece<all>] {scale = 1.0 : f32} : (!rows, !rows, !rows, tensor<1x2x?xf32>, tensor<1x2x?xf32>, !rows, !rows) -> !rows
  %1:2 = megactx.fused_key_gradient %q, %k, %k lse(%lse) delta(%delta) dout(%d) outs(%dq, %dq) [#megactx.piece<all>] {scale = 1.0 : f32} : (!rows, !rows, !rows, tensor<1x2x?xf32>, tensor<1x2x?xf32>, !rows, !rows, !rows) -> (!rows, !rows)
  return %0, %1#0 : !rows, !rows
}

// -----

// Rows of gradients that begin at the second column, and sums that are put there.
// CHECK-LABEL: @unaligned_gradients
// CHECK-NOT: alloc_tensor

// WIDE-LABEL: @unaligned_gradients
// WIDE: %[[D:.*]] = tensor.extract_slice
// WIDE-NEXT: %[[DCOPY:.*]] = bufferization.alloc_tensor() copy(%[[D]])
// WIDE: %[[DQ:.*]] = megactx.fused_query_gradient {{.*}} dout(%[[DCOPY]])
// WIDE-NEXT: %[[DQCOPY:.*]] = bufferization.alloc_tensor() copy(%[[DQ]])
// WIDE: %[[DKV:.*]]:2 = megactx.fused_key_gradient
// WIDE-NEXT: %[[DVCOPY:.*]] = bufferization.alloc_tensor() copy(%[[DKV]]#1)
// WIDE-NOT: alloc_tensor
// WIDE: tensor.insert_slice %[[DQCOPY]]
// WIDE: tensor.insert_slice %[[DVCOPY]]
!rows = tensor<1x2x?x8xf32>
!wide = tensor<1x2x?x9xf32>
func.func @unaligned_gradients(%q: !rows, %k: !rows, %w: !wide, %e: !rows, %lse: tensor<1x2x?xf32>, %dq: !rows, %dk: !rows, %dv: !rows, %n: index) -> (!wide, !rows, !wide) {
  %d = tensor.extract_slice %w[0, 0, 0, 1] [1, 2, %n, 8] [1, 1, 1, 1] : !wide to !rows
  %0 = megactx.fused_query_gradient %q, %k, %k lse(%lse) delta(%lse) dout(%d) outs(%dq) [#megactx.piece<all>] {scale = 1.0 : f32} : (!rows, !rows, !rows, tensor<1x2x?xf32>, tensor<1x2x?xf32>, !rows, !rows) -> !rows
  %1:2 = megactx.fused_key_gradient %q, %k, %k lse(%lse) delta(%lse) dout(%e) outs(%dk, %dv) [#megactx.piece<all>] {scale = 1.0 : f32} : (!rows, !rows, !rows, tensor<1x2x?xf32>, tensor<1x2x?xf32>, !rows, !rows, !rows) -> (!rows, !rows)
  %2 = tensor.insert_slice %0 into %w[0, 0, 0, 1] [1, 2, %n, 8] [1, 1, 1, 1] : !rows into !wide
  %3 = tensor.insert_slice %1#1 into %w[0, 0, 0, 1] [1, 2, %n, 8] [1, 1, 1, 1] : !rows into !wide
  return %2, %1#0, %3 : !wide, !rows, !wide
}

// -----

// Results that another attention reads, and that are put between others, are
// written to rows of their own; those that another source adds to, by that.
// WIDE-LABEL: @read_and_inserted
// WIDE: %[[A:.*]]:2 = megactx.fused_attention
// WIDE: %[[R:.*]] = bufferization.alloc_tensor() copy(%[[A]]#0)
// WIDE: megactx.fused_attention %[[R]]
// WIDE-NOT: alloc_tensor
// WIDE: %[[B:.*]]:2 = megactx.fused_attention
// WIDE: %[[S:.*]] = bufferization.alloc_tensor() copy(%[[B]]#0)
// WIDE: tensor.insert_slice %[[R]]
// WIDE: tensor.insert_slice %[[S]]
!t = tensor<1x2x5x32xf16>
!l = tensor<1x2x5xf32>
!wide = tensor<1x2x5x36xf16>
func.func @read_and_inserted(%q: !t, %k: !t, %o: !t, %lse: !l, %w: !wide) -> (!wide, !wide) {
  %a:2 = megactx.fused_attention %q, %k, %k outs(%o, %lse) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> (!t, !l)
  %b:2 = megactx.fused_attention %a#0, %k, %k outs(%o, %lse) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> (!t, !l)
  %c:2 = megactx.fused_attention %a#0, %q, %q outs(%b#0, %b#1) [#megactx.piece<all>] {accumulate, scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> (!t, !l)
  %0 = tensor.insert_slice %a#0 into %w[0, 0, 0, 4] [1, 2, 5, 32] [1, 1, 1, 1] : !t into !wide
  %1 = tensor.insert_slice %c#0 into %w[0, 0, 0, 4] [1, 2, 5, 32] [1, 1, 1, 1] : !t into !wide
  return %0, %1 : !wide, !wide
}

// -----

// What a loop writes rows into is read where it is; what another loop gives
// may be any memory.
// CHECK-LABEL: @read_what_loops_give
// CHECK: %[[A:.*]] = scf.for
// CHECK: %[[B:.*]] = scf.for
// CHECK: %[[C:.*]] = bufferization.alloc_tensor() copy(%[[B]])
// CHECK: megactx.fused_attention %{{.*}}, %[[A]], %[[C]]
!q = tensor<1x2x5x32xf16>
!c = tensor<1x2x9x32xf16>
!m = tensor<1x2x5xf32>
func.func @read_what_loops_give(%q: !q, %k: !c, %v: !c, %w: !c, %row: tensor<1x2x1x32xf16>, %n: index, %o: !q, %lse: !m) -> !q {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = scf.for %i = %c0 to %n step %c1 iter_args(%so = %k) -> !c {
    %0 = tensor.insert_slice %row into %so[0, 0, %i, 0] [1, 2, 1, 32] [1, 1, 1, 1] : tensor<1x2x1x32xf16> into !c
    scf.yield %0 : !c
  }
  %b = scf.for %i = %c0 to %n step %c1 iter_args(%x = %v) -> !c {
    %1 = linalg.copy ins(%w : !c) outs(%x : !c) -> !c
    scf.yield %1 : !c
  }
  %r:2 = megactx.fused_attention %q, %a, %b outs(%o, %lse) [#megactx.piece<all>] {scale = 1.0 : f32} : (!q, !c, !c, !q, !m) -> (!q, !m)
  return %r#0 : !q
}
