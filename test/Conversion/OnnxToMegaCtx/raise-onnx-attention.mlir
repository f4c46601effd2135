// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s

!q = tensor<?x2x?x8xf32>
!kt = tensor<?x2x8x?xf32>
!p = tensor<?x2x?x?xf32>

// CHECK-LABEL: @scale_after_product
// CHECK: megactx.attention {{.*}} {scale = 5.000000e-01 : f32}
// CHECK-NOT: onnx.Softmax
func.func @scale_after_product(%q: !q, %k: !q, %v: !q) -> !q {
  %c = onnx.initializer {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Mul %s, %c : (!p, tensor<f32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// Channels before tokens: both sides of the product with values are transposed, and so is what it gives.
!t = tensor<?x2x8x?xf32>
// CHECK-LABEL: @transposed_product_with_values
// CHECK-SAME: %{{.+}}: {{.+}}, %{{.+}}: {{.+}}, %[[VT:.+]]: {{.+}}
// CHECK: %[[V:.+]] = onnx.Transpose %[[VT]] {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x2x8x?xf32>) -> tensor<?x2x?x8xf32>
// CHECK: megactx.source %{{.+}}, %[[V]]
// CHECK: %[[O:.+]] = megactx.attention
// CHECK: onnx.Transpose %[[O]] {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x2x?x8xf32>) -> tensor<?x2x8x?xf32>
// CHECK-NOT: onnx.Softmax
func.func @transposed_product_with_values(%qt: !t, %kt: !t, %vt: !t) -> !t {
  %q = onnx.Transpose %qt {perm = array<i64: 0, 1, 3, 2>} : (!t) -> !q
  %s = onnx.MatMul %q, %kt : (!q, !t) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %pt = onnx.Transpose %p {perm = array<i64: 0, 1, 3, 2>} : (!p) -> !p
  %o = onnx.MatMul %vt, %pt : (!t, !p) -> !t
  return %o : !t
}

// CHECK-LABEL: @transposed_probabilities_of_other_uses_are_left
// CHECK: onnx.Softmax
// CHECK-LABEL: @probabilities_with_heads_before_the_batch
// CHECK: megactx.attention
func.func @transposed_probabilities_of_other_uses_are_left(%q: !q, %kt: !t, %vt: !t) -> (!t, !p) {
  %s = onnx.MatMul %q, %kt : (!q, !t) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %pt = onnx.Transpose %p {perm = array<i64: 0, 1, 3, 2>} : (!p) -> !p
  %o = onnx.MatMul %vt, %pt : (!t, !p) -> !t
  return %o, %pt : !t, !p
}
func.func @probabilities_with_heads_before_the_batch(%q: !q, %kt: !t, %vt: !t) -> tensor<2x?x?x8xf32> {
  %s = onnx.MatMul %q, %kt : (!q, !t) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %pt = onnx.Transpose %p {perm = array<i64: 1, 0, 2, 3>} : (!p) -> tensor<2x?x?x?xf32>
  %v = onnx.Transpose %vt {perm = array<i64: 1, 0, 3, 2>} : (!t) -> tensor<2x?x?x8xf32>
  %o = onnx.MatMul %pt, %v : (tensor<2x?x?x?xf32>, tensor<2x?x?x8xf32>) -> tensor<2x?x?x8xf32>
  return %o : tensor<2x?x?x8xf32>
}

// CHECK-LABEL: @softmax_over_queries_is_left
// CHECK: onnx.Softmax
func.func @softmax_over_queries_is_left(%q: !q, %k: !q, %v: !q) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = 2 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// Keys that a batch shares are repeated; those of lower rank are keys of every batch row and head.
// CHECK-LABEL: @shared_keys
// CHECK: %[[ROWS:.+]] = onnx.Transpose %{{.+}} -> tensor<2x5x8xf32>
// CHECK: %[[K:.+]] = onnx.Unsqueeze %[[ROWS]], %{{.+}} -> tensor<1x2x5x8xf32>
// CHECK: %[[ALL:.+]] = onnx.Expand %[[K]], %{{.+}} -> tensor<?x2x5x8xf32>
// CHECK: megactx.source %[[ALL]], %{{.+}} pattern(#megactx.pattern<dense>)
// CHECK: megactx.attention
func.func @shared_keys(%q: !q, %v: tensor<?x2x5x8xf32>, %kt: tensor<2x8x5xf32>) -> !q {
  %s = onnx.MatMul %q, %kt : (!q, tensor<2x8x5xf32>) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, tensor<?x2x5x8xf32>) -> !q
  return %o : !q
}

// One head of keys and values for all queries is a group as it is.
// CHECK-LABEL: @one_key_head
// CHECK-NOT: onnx.Expand
// CHECK: megactx.attention {{.*}} : (tensor<?x2x?x8xf32>, !megactx.source<tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>>
func.func @one_key_head(%q: !q, %kt: tensor<?x1x8x?xf32>, %v: tensor<?x1x?x8xf32>) -> !q {
  %s = onnx.MatMul %q, %kt : (!q, tensor<?x1x8x?xf32>) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, tensor<?x1x?x8xf32>) -> !q
  return %o : !q
}

// So it is where an exporter repeats it.
// CHECK-LABEL: @one_key_head_repeated
// CHECK: megactx.attention {{.*}} : (tensor<?x2x?x8xf32>, !megactx.source<tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>>
func.func @one_key_head_repeated(%q: !q, %k: tensor<?x1x?x8xf32>) -> !q {
  %two = onnx.initializer {value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %times = onnx.initializer {value = dense<[1, 1, 2, 1, 1]> : tensor<5xi64>} : tensor<5xi64>
  %sizes = onnx.initializer {value = dense<[0, 2, -1, 8]> : tensor<4xi64>} : tensor<4xi64>
  %one = onnx.Unsqueeze %k, %two : (tensor<?x1x?x8xf32>, tensor<1xi64>) -> tensor<?x1x1x?x8xf32>
  %each = onnx.Expand %one, %times : (tensor<?x1x1x?x8xf32>, tensor<5xi64>) -> tensor<?x1x2x?x8xf32>
  %all = onnx.Reshape %each, %sizes : (tensor<?x1x2x?x8xf32>, tensor<4xi64>) -> !q
  %kt = onnx.Transpose %all {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %all : (!p, !q) -> !q
  return %o : !q
}

// Learned scores, a learned memory, learned queries.
!w = tensor<1x2x5x8xf32>
!wt = tensor<1x2x8x5xf32>
// CHECK-LABEL: @learned_scores_are_of_the_values
// CHECK-NOT: kind = "cross"
// CHECK-LABEL: @learned_memory
// CHECK: megactx.attention {{.*}}kind = "cross"
// CHECK-LABEL: @learned_queries
// CHECK: megactx.attention {{.*}}kind = "cross"
func.func @learned_scores_are_of_the_values(%x: !q, %y: tensor<?x2x5x8xf32>) -> !q {
  %kt = onnx.initializer {value = dense<0.5> : !wt} : !wt
  %s = onnx.MatMul %x, %kt : (!q, !wt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %y : (!p, tensor<?x2x5x8xf32>) -> !q
  return %o : !q
}
func.func @learned_memory(%x: !q) -> !q {
  %kt = onnx.initializer {value = dense<0.5> : !wt} : !wt
  %v = onnx.initializer {value = dense<0.5> : !w} : !w
  %s = onnx.MatMul %x, %kt : (!q, !wt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !w) -> !q
  return %o : !q
}
func.func @learned_queries(%x: !q) -> !q {
  %q = onnx.initializer {value = dense<0.5> : !w} : !w
  %kt = onnx.Transpose %x {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!w, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %x : (!p, !q) -> !q
  return %o : !q
}

// Slices of one size that end at one number are equal, though they may end before it: learned scores of so many positions, and their mask.
// CHECK-LABEL: @slices_that_end_alike
// CHECK: megactx.source {{.*}} pattern(#megactx.pattern<causal>)
!d = tensor<?x?x?x?xf32>
func.func @slices_that_end_alike(%v: !q) -> !q {
  %left = onnx.initializer {value = dense<0.5> : tensor<1x2x3x4xf32>} : tensor<1x2x3x4xf32>
  %right = onnx.initializer {value = dense<0.5> : tensor<1x2x4x3xf32>} : tensor<1x2x4x3xf32>
  %tril = onnx.initializer {value = dense<[[1., 0., 0.], [1., 1., 0.], [1., 1., 1.]]> : tensor<3x3xf32>} : tensor<3x3xf32>
  %minus = onnx.initializer {value = dense<-1.0e9> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %2 = onnx.initializer {value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %3 = onnx.initializer {value = dense<3> : tensor<1xi64>} : tensor<1xi64>
  %n = onnx.Shape %v {start = 2 : i64, end = 3 : i64} : (!q) -> tensor<1xi64>
  %l = onnx.Slice %left, %0, %n, %2, %1 : (tensor<1x2x3x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !d
  %r = onnx.Slice %right, %0, %n, %3, %1 : (tensor<1x2x4x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !d
  %rows = onnx.Slice %tril, %0, %n, %0, %1 : (tensor<3x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  %seen = onnx.Slice %rows, %0, %n, %1, %1 : (tensor<?x?xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  %hidden = onnx.Equal %seen, %zero : (tensor<?x?xf32>, tensor<f32>) -> tensor<?x?xi1>
  %s = onnx.MatMul %l, %r : (!d, !d) -> !d
  %m = onnx.Where %hidden, %minus, %s : (tensor<?x?xi1>, tensor<f32>, !d) -> !d
  %p = onnx.Softmax %m {axis = -1 : i64} : (!d) -> !d
  %o = onnx.MatMul %p, %v : (!d, !q) -> !q
  return %o : !q
}

// Queries and keys of one sequence, each through a projection to a low rank, as DeepSeek's are.
// CHECK-LABEL: @low_rank_projections(
// CHECK: megactx.attention
// CHECK-NOT: kind = "cross"
// CHECK-LABEL: @low_rank_projections_of_two(
// CHECK: megactx.attention {{.*}}kind = "cross"
!x = tensor<?x1x?x8xf32>
!ww = tensor<8x8xf32>
func.func @low_rank_projections(%x: !x, %m: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !ww} : !ww
  %qa = onnx.MatMul %x, %w : (!x, !ww) -> !x
  %qn = onnx.Tanh %qa : (!x) -> !x
  %q = onnx.MatMul %qn, %w : (!x, !ww) -> !x
  %ka = onnx.MatMul %x, %w : (!x, !ww) -> !x
  %kn = onnx.Relu %ka : (!x) -> !x
  %k = onnx.MatMul %kn, %w : (!x, !ww) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> tensor<?x1x8x?xf32>
  %s = onnx.MatMul %q, %kt : (!x, tensor<?x1x8x?xf32>) -> tensor<?x1x?x?xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x1x?x?xf32>) -> tensor<?x1x?x?xf32>
  %o = onnx.MatMul %p, %k : (tensor<?x1x?x?xf32>, !x) -> !x
  return %o : !x
}
func.func @low_rank_projections_of_two(%x: !x, %m: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !ww} : !ww
  %qa = onnx.MatMul %x, %w : (!x, !ww) -> !x
  %qn = onnx.Tanh %qa : (!x) -> !x
  %q = onnx.MatMul %qn, %w : (!x, !ww) -> !x
  %ka = onnx.MatMul %m, %w : (!x, !ww) -> !x
  %kn = onnx.Relu %ka : (!x) -> !x
  %k = onnx.MatMul %kn, %w : (!x, !ww) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> tensor<?x1x8x?xf32>
  %s = onnx.MatMul %q, %kt : (!x, tensor<?x1x8x?xf32>) -> tensor<?x1x?x?xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x1x?x?xf32>) -> tensor<?x1x?x?xf32>
  %o = onnx.MatMul %p, %k : (tensor<?x1x?x?xf32>, !x) -> !x
  return %o : !x
}

// Queries, keys and values without a dim of heads, projected for one head or, as WavLM's, folded before there was one.
// CHECK-LABEL: @no_heads
// CHECK: %[[Q:.+]] = onnx.Unsqueeze %arg0, {{.*}} -> tensor<?x1x?x8xf32>
// CHECK: %[[K:.+]] = onnx.Unsqueeze %{{.*}} -> tensor<?x1x?x8xf32>
// CHECK: %[[V:.+]] = onnx.Unsqueeze %arg2, {{.*}} -> tensor<?x1x?x8xf32>
// CHECK: megactx.source %[[K]], %[[V]] bias
// CHECK: megactx.attention %[[Q]]
// CHECK: tensor.collapse_shape
func.func @no_heads(%q: tensor<?x?x8xf32>, %kt: tensor<?x8x?xf32>, %v: tensor<?x?x8xf32>, %m: tensor<?x?x?xf32>) -> tensor<?x?x8xf32> {
  %s = onnx.MatMul %q, %kt : (tensor<?x?x8xf32>, tensor<?x8x?xf32>) -> tensor<?x?x?xf32>
  %x = onnx.Add %s, %m : (tensor<?x?x?xf32>, tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  %p = onnx.Softmax %x {axis = -1 : i64} : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  %o = onnx.MatMul %p, %v : (tensor<?x?x?xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %o : tensor<?x?x8xf32>
}

// Keys of a layer before, as some of Gemma 3n's layers share them: of the same rows, but not of other rows of theirs.
// CHECK-LABEL: @keys_of_a_layer_before(
// CHECK: megactx.attention
// CHECK-NOT: kind = "cross"
// CHECK-LABEL: @keys_of_rows_before(
// CHECK: megactx.attention {{.*}}kind = "cross"
func.func @keys_of_a_layer_before(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !ww} : !ww
  %k = onnx.MatMul %x, %w : (!x, !ww) -> !x
  %h = onnx.Relu %k : (!x) -> !x
  %u = onnx.MatMul %h, %w : (!x, !ww) -> !x
  %y = onnx.Add %x, %u : (!x, !x) -> !x
  %q = onnx.MatMul %y, %w : (!x, !ww) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> tensor<?x1x8x?xf32>
  %s = onnx.MatMul %q, %kt : (!x, tensor<?x1x8x?xf32>) -> tensor<?x1x?x?xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x1x?x?xf32>) -> tensor<?x1x?x?xf32>
  %o = onnx.MatMul %p, %k : (tensor<?x1x?x?xf32>, !x) -> !x
  return %o : !x
}
func.func @keys_of_rows_before(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !ww} : !ww
  %0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %2 = onnx.initializer {value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %k = onnx.MatMul %x, %w : (!x, !ww) -> !x
  %y = onnx.Slice %x, %0, %1, %2 : (!x, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !x
  %q = onnx.MatMul %y, %w : (!x, !ww) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> tensor<?x1x8x?xf32>
  %s = onnx.MatMul %q, %kt : (!x, tensor<?x1x8x?xf32>) -> tensor<?x1x?x?xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x1x?x?xf32>) -> tensor<?x1x?x?xf32>
  %o = onnx.MatMul %p, %k : (tensor<?x1x?x?xf32>, !x) -> !x
  return %o : !x
}
