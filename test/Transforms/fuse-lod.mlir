// RUN: megactx-opt %s --megactx-decompose-patterns --megactx-fuse-attention-pieces --megactx-fuse-lod=rows=64 --canonicalize --cse --remarks-filter=fuse-lod 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks
// RUN: megactx-opt %s --megactx-decompose-patterns --megactx-fuse-attention-pieces --megactx-fuse-lod=rows=0 --canonicalize --cse | FileCheck %s --check-prefix=OFF
// RUN: not megactx-opt %s --megactx-fuse-lod=rows=-1 2>&1 | FileCheck %s --check-prefix=BAD

// BAD: error: expected rows of at least 0, but got -1

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>
!rows = tensor<1x?x16xf32>

// REMARK: fuse-lod.mlir:[[# @LINE + 30]]:8: remark: [Passed] pooling-fused | Category:fuse-lod | Function=heads_are_joined | Remark="tensor<1x?x16xf32> is never whole: from attention to gists, 64 rows of all heads at a time"
// CHECK-LABEL: @heads_are_joined
// CHECK-SAME: %[[Q:.+]]: tensor<1x2x?x8xf32>, %[[K:.+]]: tensor<1x2x?x8xf32>, %[[V:.+]]: tensor<1x2x?x8xf32>)
// CHECK-DAG: %[[C4:.+]] = arith.constant 4 : index
// CHECK-DAG: %[[C8:.+]] = arith.constant 8 : index
// CHECK: %[[N:.+]] = tensor.dim %[[Q]], %c2
// CHECK: %[[M:.+]] = arith.divui %[[N]], %[[C4]]
// CHECK: %[[INIT:.+]] = tensor.empty(%[[M]]) : tensor<1x?x16xf32>
// CHECK: %[[LOOP:.+]] = scf.for %[[J:.+]] = %c0 to %[[M]] step %[[C8]] iter_args(%[[GISTS:.+]] = %[[INIT]])
// CHECK:   %[[LEFT:.+]] = arith.subi %[[M]], %[[J]]
// CHECK:   %[[COUNT:.+]] = arith.minsi %[[LEFT]], %[[C8]]
// CHECK:   %[[BEGIN:.+]] = arith.muli %[[J]], %[[C4]]
// CHECK:   %[[ROWS:.+]] = arith.muli %[[COUNT]], %[[C4]]
// CHECK:   %[[BLOCK:.+]] = tensor.extract_slice %[[Q]][0, 0, %[[BEGIN]], 0] [1, 2, %[[ROWS]], 8]
// CHECK:   %[[O:.+]]:2 = megactx.fused_attention %[[BLOCK]], %[[K]], %[[V]] query_offset(%[[BEGIN]])
// CHECK:   %[[TURNED:.+]] = linalg.transpose ins(%[[O]]#0
// CHECK:   %[[JOINED:.+]] = tensor.collapse_shape %[[TURNED]]
// CHECK:   %[[G:.+]] = megactx.gist_pool mean %[[JOINED]] {ratio = 4
// CHECK:   tensor.insert_slice %[[G]] into %[[GISTS]][0, %[[J]], 0]
// CHECK: return %[[LOOP]]
// OFF-LABEL: @heads_are_joined
// OFF-NOT: scf.for
func.func @heads_are_joined(%q: !t, %k: !t, %v: !t) -> !rows {
  %c2 = arith.constant 2 : index
  %n = tensor.dim %q, %c2 : !t
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  %e = tensor.empty(%n) : tensor<1x?x2x8xf32>
  %x = linalg.transpose ins(%o : !t) outs(%e : tensor<1x?x2x8xf32>) permutation = [0, 2, 1, 3]
  %r = tensor.collapse_shape %x [[0], [1], [2, 3]] : tensor<1x?x2x8xf32> into !rows
  %g = megactx.gist_pool mean %r {ratio = 4} : (!rows) -> !rows
  return %g : !rows
}

// What a loop's index says of a row is still the row's own number; weights are whole.
// REMARK: [Passed] pooling-fused | {{.*}}Function=what_is_between_comes_along
// CHECK-LABEL: @what_is_between_comes_along
// CHECK: scf.for
// CHECK:   %[[BEGIN:.+]] = arith.muli
// CHECK:   megactx.fused_attention {{.*}} query_offset(%[[BEGIN]])
// CHECK:   linalg.generic
// CHECK:     %[[I:.+]] = linalg.index 1
// CHECK:     affine.apply #{{.+}}(%[[BEGIN]])[%[[I]]]
// CHECK:   linalg.batch_matmul ins(%{{.+}}, %[[W:.+]] :
// CHECK:   arith.addf
// CHECK:   megactx.gist_pool query
func.func @what_is_between_comes_along(%q: tensor<1x1x?x8xf32>, %w: tensor<1x8x8xf32>, %score: tensor<8xf32>) -> tensor<1x?x8xf32> {
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f32
  %n = tensor.dim %q, %c2 : tensor<1x1x?x8xf32>
  %s = megactx.source %q, %q pattern(#megactx.pattern<causal>) : (tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> !megactx.source<tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (tensor<1x1x?x8xf32>, !megactx.source<tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>>) -> tensor<1x1x?x8xf32>
  %x = tensor.collapse_shape %o [[0, 1], [2], [3]] : tensor<1x1x?x8xf32> into tensor<1x?x8xf32>
  %e = tensor.empty(%n) : tensor<1x?x8xf32>
  %numbered = linalg.generic {indexing_maps = [affine_map<(b, i, d) -> (b, i, d)>, affine_map<(b, i, d) -> (b, i, d)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x : tensor<1x?x8xf32>) outs(%e : tensor<1x?x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    %i = linalg.index 1 : index
    %j = arith.index_cast %i : index to i32
    %f = arith.sitofp %j : i32 to f32
    %sum = arith.addf %in, %f : f32
    linalg.yield %sum : f32
  } -> tensor<1x?x8xf32>
  %fill = linalg.fill ins(%zero : f32) outs(%e : tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  %y = linalg.batch_matmul ins(%numbered, %w : tensor<1x?x8xf32>, tensor<1x8x8xf32>) outs(%fill : tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  %z = arith.addf %y, %x : tensor<1x?x8xf32>
  %g = megactx.gist_pool query %z weight(%score) {ratio = 4} : (tensor<1x?x8xf32>, tensor<8xf32>) -> tensor<1x?x8xf32>
  return %g : tensor<1x?x8xf32>
}

// Kernels that add to the result of others, positions and a bias for each query: all take their rows.
// REMARK: [Passed] pooling-fused | {{.*}}Function=several_kernels
// CHECK-LABEL: @several_kernels
// CHECK: scf.for
// CHECK:   %[[A:.+]]:2 = megactx.fused_attention {{.*}} bias(%{{.+}}) {{.*}}query_offset(
// CHECK:   megactx.fused_attention {{.*}} bias(%{{.+}}) {{.*}}query_offset({{.*}} outs(%[[A]]#0, %[[A]]#1) [{{.*}}accumulate
// CHECK:   megactx.gist_pool
func.func @several_kernels(%q: tensor<1x1x?x8xf32>, %bias: tensor<1x1x?x?xf32>) -> tensor<1x?x8xf32> {
  %s = megactx.source %q, %q bias(%bias) pattern(#megactx.pattern<causal and (window<left = 3, right = 0> or strided<stride = 2>)>)
      : (tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>, tensor<1x1x?x?xf32>) -> !megactx.source<tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (tensor<1x1x?x8xf32>, !megactx.source<tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>>) -> tensor<1x1x?x8xf32>
  %x = tensor.collapse_shape %o [[0, 1], [2], [3]] : tensor<1x1x?x8xf32> into tensor<1x?x8xf32>
  %g = megactx.gist_pool cls %x {ratio = 4} : (tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  return %g : tensor<1x?x8xf32>
}

// REMARK: [Missed] pooling-not-fused | {{.*}}Function=rows_are_used_elsewhere | Reason="the result of tensor.collapse_shape is used elsewhere, too"
// CHECK-LABEL: @rows_are_used_elsewhere
// CHECK-NOT: scf.for
// CHECK: return
func.func @rows_are_used_elsewhere(%q: tensor<1x1x?x8xf32>) -> (tensor<1x?x8xf32>, tensor<1x?x8xf32>) {
  %s = megactx.source %q, %q pattern(#megactx.pattern<causal>) : (tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> !megactx.source<tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (tensor<1x1x?x8xf32>, !megactx.source<tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>>) -> tensor<1x1x?x8xf32>
  %x = tensor.collapse_shape %o [[0, 1], [2], [3]] : tensor<1x1x?x8xf32> into tensor<1x?x8xf32>
  %g = megactx.gist_pool mean %x {ratio = 4} : (tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  return %g, %x : tensor<1x?x8xf32>, tensor<1x?x8xf32>
}

// REMARK: [Missed] pooling-not-fused | {{.*}}Function=log_sums_are_used | Reason="its log-sum-exp is used, too"
// CHECK-LABEL: @log_sums_are_used
// CHECK-NOT: scf.for
// CHECK: return
func.func @log_sums_are_used(%q: tensor<1x1x?x8xf32>) -> (tensor<1x?x8xf32>, tensor<1x1x?xf32>) {
  %s = megactx.source %q, %q pattern(#megactx.pattern<causal>) : (tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> !megactx.source<tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>>
  %o, %lse = megactx.attention %q, %s {scale = 1.0 : f32} : (tensor<1x1x?x8xf32>, !megactx.source<tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>>) -> (tensor<1x1x?x8xf32>, tensor<1x1x?xf32>)
  %x = tensor.collapse_shape %o [[0, 1], [2], [3]] : tensor<1x1x?x8xf32> into tensor<1x?x8xf32>
  %g = megactx.gist_pool mean %x {ratio = 4} : (tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  return %g, %lse : tensor<1x?x8xf32>, tensor<1x1x?xf32>
}

// REMARK: [Missed] pooling-not-fused | {{.*}}Function=rows_are_merged | Reason="tensor.collapse_shape does not keep rows apart"
// CHECK-LABEL: @rows_are_merged
// CHECK-NOT: scf.for
// CHECK: return
func.func @rows_are_merged(%q: tensor<1x2x?x8xf32>) -> tensor<1x?x8xf32> {
  %s = megactx.source %q, %q pattern(#megactx.pattern<causal>) : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (tensor<1x2x?x8xf32>, !s) -> tensor<1x2x?x8xf32>
  %x = tensor.collapse_shape %o [[0], [1, 2], [3]] : tensor<1x2x?x8xf32> into tensor<1x?x8xf32>
  %g = megactx.gist_pool mean %x {ratio = 4} : (tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  return %g : tensor<1x?x8xf32>
}

// REMARK: [Missed] pooling-not-fused | {{.*}}Function=few_rows | Reason="its rows are one block"
// CHECK-LABEL: @few_rows
// CHECK-NOT: scf.for
// CHECK: return
func.func @few_rows(%q: tensor<1x1x67x8xf32>) -> tensor<1x16x8xf32> {
  %s = megactx.source %q, %q pattern(#megactx.pattern<causal>) : (tensor<1x1x67x8xf32>, tensor<1x1x67x8xf32>) -> !megactx.source<tensor<1x1x67x8xf32>, tensor<1x1x67x8xf32>>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (tensor<1x1x67x8xf32>, !megactx.source<tensor<1x1x67x8xf32>, tensor<1x1x67x8xf32>>) -> tensor<1x1x67x8xf32>
  %x = tensor.collapse_shape %o [[0, 1], [2], [3]] : tensor<1x1x67x8xf32> into tensor<1x67x8xf32>
  %g = megactx.gist_pool mean %x {ratio = 4} : (tensor<1x67x8xf32>) -> tensor<1x16x8xf32>
  return %g : tensor<1x16x8xf32>
}

// Of nothing that an attention gives: nothing to say.
// REMARK-NOT: no_attention
// CHECK-LABEL: @no_attention
// CHECK-NOT: scf.for
// CHECK: return
func.func @no_attention(%x: tensor<1x?x8xf32>) -> tensor<1x?x8xf32> {
  %y = math.absf %x : tensor<1x?x8xf32>
  %g = megactx.gist_pool mean %y {ratio = 4} : (tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  return %g : tensor<1x?x8xf32>
}

// How many rows a block has may be known only when the program runs.
// CHECK-LABEL: @any_batch
// CHECK: %[[B:.+]] = tensor.dim %{{.+}}, %c0
// CHECK: %[[COUNT:.+]] = affine.max #{{.+}}()[%[[B]]]
// CHECK: %[[GISTS:.+]] = arith.divui %c16, %[[COUNT]]
// CHECK: %[[STEP:.+]] = arith.maxui %[[GISTS]], %c1
// CHECK: scf.for %{{.+}} = %c0 to %{{.+}} step %[[STEP]]
func.func @any_batch(%q: tensor<?x2x?x8xf32>) -> tensor<?x?x16xf32> {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %b = tensor.dim %q, %c0 : tensor<?x2x?x8xf32>
  %n = tensor.dim %q, %c2 : tensor<?x2x?x8xf32>
  %s = megactx.source %q, %q pattern(#megactx.pattern<causal>) : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> !megactx.source<tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (tensor<?x2x?x8xf32>, !megactx.source<tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>>) -> tensor<?x2x?x8xf32>
  %e = tensor.empty(%b, %n) : tensor<?x?x2x8xf32>
  %x = linalg.transpose ins(%o : tensor<?x2x?x8xf32>) outs(%e : tensor<?x?x2x8xf32>) permutation = [0, 2, 1, 3]
  %r = tensor.collapse_shape %x [[0], [1], [2, 3]] : tensor<?x?x2x8xf32> into tensor<?x?x16xf32>
  %g = megactx.gist_pool mean %r {ratio = 4} : (tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
  return %g : tensor<?x?x16xf32>
}
