// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s
// RUN: megactx-opt %s --megactx-raise-onnx-attention -o /dev/null --remarks-filter-missed=raise-onnx-attention 2>&1 | FileCheck %s --check-prefix=WHY

// Queries that are the last rows of their keys' sequence stand at its end; which other rows queries or keys are of, patterns by position do not know.

!x = tensor<?x1x?x8xf32>
!w = tensor<8x8xf32>
!i = tensor<1xi64>
!kt = tensor<?x1x8x?xf32>
!p = tensor<?x1x?x?xf32>

// CHECK-LABEL: @last_row(
// CHECK: megactx.attention %{{[^"]*}}scale
func.func @last_row(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %minus = onnx.initializer {value = dense<-1> : !i} : !i
  %end = onnx.initializer {value = dense<9223372036854775807> : !i} : !i
  %a = onnx.MatMul %x, %w : (!x, !w) -> !x
  %q = onnx.Slice %a, %minus, %end, %2, %1 : (!x, !i, !i, !i, !i) -> !x
  %k = onnx.MatMul %x, %w : (!x, !w) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @class_token(
// CHECK: megactx.attention {{.*}}kind = "cross"
func.func @class_token(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %0 = onnx.initializer {value = dense<0> : !i} : !i
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %a = onnx.Slice %x, %0, %1, %2, %1 : (!x, !i, !i, !i, !i) -> !x
  %q = onnx.MatMul %a, %w : (!x, !w) -> !x
  %k = onnx.MatMul %x, %w : (!x, !w) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @all_rows_but_the_last(
// CHECK: megactx.attention {{.*}}kind = "cross"
func.func @all_rows_but_the_last(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %0 = onnx.initializer {value = dense<0> : !i} : !i
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %minus = onnx.initializer {value = dense<-1> : !i} : !i
  %a = onnx.MatMul %x, %w : (!x, !w) -> !x
  %q = onnx.Slice %a, %0, %minus, %2, %1 : (!x, !i, !i, !i, !i) -> !x
  %k = onnx.MatMul %x, %w : (!x, !w) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// Informer's queries.
// CHECK-LABEL: @rows_that_data_chooses(
// CHECK: megactx.attention {{.*}}kind = "cross"
func.func @rows_that_data_chooses(%x: !x, %chosen: tensor<?x1x?x8xi64>) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %a = onnx.MatMul %x, %w : (!x, !w) -> !x
  %q = onnx.GatherElements %a, %chosen {axis = 2 : i64} : (!x, tensor<?x1x?x8xi64>) -> !x
  %k = onnx.MatMul %x, %w : (!x, !w) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @every_second_row(
// CHECK: megactx.attention {{.*}}kind = "cross"
func.func @every_second_row(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %0 = onnx.initializer {value = dense<0> : !i} : !i
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %end = onnx.initializer {value = dense<9223372036854775807> : !i} : !i
  %a = onnx.MatMul %x, %w : (!x, !w) -> !x
  %q = onnx.Slice %a, %0, %end, %2, %2 : (!x, !i, !i, !i, !i) -> !x
  %k = onnx.MatMul %x, %w : (!x, !w) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @pooled_keys(
// CHECK: megactx.attention {{.*}}kind = "cross"
func.func @pooled_keys(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %q = onnx.MatMul %x, %w : (!x, !w) -> !x
  %a = onnx.MatMul %x, %w : (!x, !w) -> !x
  %k = "onnx.AveragePool"(%a) {kernel_shape = array<i64: 2, 1>, strides = array<i64: 2, 1>, pads = array<i64: 0, 0, 0, 0>} : (!x) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @behind_a_cache(
// CHECK: megactx.attention %{{[^"]*}}scale
func.func @behind_a_cache(%x: !x, %past: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %q = onnx.MatMul %x, %w : (!x, !w) -> !x
  %own = onnx.MatMul %x, %w : (!x, !w) -> !x
  %k = onnx.Concat %past, %own {axis = 2 : i64} : (!x, !x) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// Heads split off by sizes that are cut from the data's own, as TorchScript's exporter writes torch.unflatten: a slice without axes is along the first ones.
// CHECK-LABEL: @class_token_whose_heads_are_split_off(
// CHECK: megactx.attention {{.*}}kind = "cross"
!r = tensor<?x?x8xf32>
!s = tensor<?x?x2x4xf32>
!h = tensor<?x2x?x4xf32>
func.func @class_token_whose_heads_are_split_off(%x: !r) -> !h {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %0 = onnx.initializer {value = dense<0> : !i} : !i
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %split = onnx.initializer {value = dense<[2, 4]> : tensor<2xi64>} : tensor<2xi64>
  %a = onnx.MatMul %x, %w : (!r, !w) -> !r
  %b = onnx.Slice %a, %0, %1, %1, %1 : (!r, !i, !i, !i, !i) -> !r
  %bs = onnx.Shape %b : (!r) -> tensor<3xi64>
  %bn = onnx.Slice %bs, %0, %2 : (tensor<3xi64>, !i, !i) -> tensor<?xi64>
  %bt = onnx.Concat %bn, %split {axis = 0 : i64} : (tensor<?xi64>, tensor<2xi64>) -> tensor<?xi64>
  %br = onnx.Reshape %b, %bt : (!r, tensor<?xi64>) -> !s
  %q = onnx.Transpose %br {perm = array<i64: 0, 2, 1, 3>} : (!s) -> !h
  %as = onnx.Shape %a : (!r) -> tensor<3xi64>
  %an = onnx.Slice %as, %0, %2 : (tensor<3xi64>, !i, !i) -> tensor<?xi64>
  %at = onnx.Concat %an, %split {axis = 0 : i64} : (tensor<?xi64>, tensor<2xi64>) -> tensor<?xi64>
  %ar = onnx.Reshape %a, %at : (!r, tensor<?xi64>) -> !s
  %k = onnx.Transpose %ar {perm = array<i64: 0, 2, 1, 3>} : (!s) -> !h
  %kt = onnx.Transpose %ar {perm = array<i64: 0, 2, 3, 1>} : (!s) -> tensor<?x2x4x?xf32>
  %s = onnx.MatMul %q, %kt : (!h, tensor<?x2x4x?xf32>) -> tensor<?x2x?x?xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x2x?x?xf32>) -> tensor<?x2x?x?xf32>
  %o = onnx.MatMul %p, %k : (tensor<?x2x?x?xf32>, !h) -> !h
  return %o : !h
}

// Projections by convolutions (SqueezeBERT), each with its own windows: as many of the queries as of the keys.
// CHECK-LABEL: @projected_by_convolutions(
// CHECK: megactx.attention %{{[^"]*}}scale
!c = tensor<?x8x?xf32>
func.func @projected_by_convolutions(%x: !c) -> tensor<?x1x?x8xf32> {
  %w = onnx.initializer {value = dense<0.5> : tensor<8x8x1xf32>} : tensor<8x8x1xf32>
  %w3 = onnx.initializer {value = dense<0.5> : tensor<8x8x3xf32>} : tensor<8x8x3xf32>
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %a = onnx.Conv %x, %w {kernel_shape = array<i64: 1>, strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64} : (!c, tensor<8x8x1xf32>) -> !c
  %b = onnx.Conv %x, %w3 {kernel_shape = array<i64: 3>, strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64} : (!c, tensor<8x8x3xf32>) -> !c
  %at = onnx.Transpose %a {perm = array<i64: 0, 2, 1>} : (!c) -> tensor<?x?x8xf32>
  %bt = onnx.Transpose %b {perm = array<i64: 0, 2, 1>} : (!c) -> tensor<?x?x8xf32>
  %q = onnx.Unsqueeze %at, %1 : (tensor<?x?x8xf32>, !i) -> !x
  %k = onnx.Unsqueeze %bt, %1 : (tensor<?x?x8xf32>, !i) -> !x
  %kt = onnx.Unsqueeze %b, %1 : (!c, !i) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @reversed_queries(
// CHECK: megactx.attention {{.*}}kind = "cross"
// WHY: positions-unknown {{.*}}Function=reversed_queries | Reason="its queries and its last keys are different rows of the result of node (MatMul)"
func.func @reversed_queries(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %minus = onnx.initializer {value = dense<-1> : !i} : !i
  %end = onnx.initializer {value = dense<-9223372036854775807> : !i} : !i
  %a = onnx.MatMul %x, %w : (!x, !w) -> !x
  %q = onnx.Slice %a, %minus, %end, %2, %minus : (!x, !i, !i, !i, !i) -> !x
  %kt = onnx.Transpose %a {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %a : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @reversed_sequence(
// CHECK: megactx.attention {{.*}}kind = "cross"
// WHY: positions-unknown {{.*}}Function=reversed_sequence | Reason="which rows of its sequence the result of node (Slice) has, and in which order, is not known"
func.func @reversed_sequence(%x: !x {onnx.name = "x"}) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %minus = onnx.initializer {value = dense<-1> : !i} : !i
  %end = onnx.initializer {value = dense<-9223372036854775807> : !i} : !i
  %r = onnx.Slice %x, %minus, %end, %2, %minus : (!x, !i, !i, !i, !i) -> !x
  %a = onnx.MatMul %r, %w : (!x, !w) -> !x
  %kt = onnx.Transpose %a {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %a, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %a : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @sequence_twice(
// CHECK: megactx.attention {{.*}}kind = "cross"
// WHY: positions-unknown {{.*}}Function=sequence_twice | Reason="its rows are those of input 'x' in another order, or several times"
func.func @sequence_twice(%x: !x {onnx.name = "x"}) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %r = onnx.Concat %x, %x {axis = 2 : i64} : (!x, !x) -> !x
  %a = onnx.MatMul %r, %w : (!x, !w) -> !x
  %kt = onnx.Transpose %a {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %a, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %a : (!p, !x) -> !x
  return %o : !x
}

// Keys of a sequence twice do not end one: what is before the queries' own is no cache.
// CHECK-LABEL: @keys_twice(
// CHECK: megactx.attention {{.*}}kind = "cross"
// WHY: positions-unknown {{.*}}Function=keys_twice | Reason="it is not known at which positions the keys of the result of node (MatMul) are, which stand before the others"
func.func @keys_twice(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %q = onnx.MatMul %x, %w : (!x, !w) -> !x
  %b = onnx.MatMul %x, %w : (!x, !w) -> !x
  %k = onnx.Concat %b, %b {axis = 2 : i64} : (!x, !x) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// Parts that each are turned, and joined again, as rotary embeddings spare a class token, stay one sequence.
// CHECK-LABEL: @joined_alike(
// CHECK: megactx.attention %{{[^"]*}}scale
func.func @joined_alike(%x: tensor<?x1x17x8xf32>) -> tensor<?x1x17x8xf32> {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %0 = onnx.initializer {value = dense<0> : !i} : !i
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %17 = onnx.initializer {value = dense<17> : !i} : !i
  %angles = onnx.initializer {value = dense<0.5> : tensor<16x8xf32>} : tensor<16x8xf32>
  %a = onnx.MatMul %x, %w : (tensor<?x1x17x8xf32>, !w) -> tensor<?x1x17x8xf32>
  %b = onnx.MatMul %x, %w : (tensor<?x1x17x8xf32>, !w) -> tensor<?x1x17x8xf32>
  %a0 = onnx.Slice %a, %0, %1, %2, %1 : (tensor<?x1x17x8xf32>, !i, !i, !i, !i) -> tensor<?x1x1x8xf32>
  %a1 = onnx.Slice %a, %1, %17, %2, %1 : (tensor<?x1x17x8xf32>, !i, !i, !i, !i) -> tensor<?x1x16x8xf32>
  %b0 = onnx.Slice %b, %0, %1, %2, %1 : (tensor<?x1x17x8xf32>, !i, !i, !i, !i) -> tensor<?x1x1x8xf32>
  %b1 = onnx.Slice %b, %1, %17, %2, %1 : (tensor<?x1x17x8xf32>, !i, !i, !i, !i) -> tensor<?x1x16x8xf32>
  %ar = onnx.Mul %a1, %angles : (tensor<?x1x16x8xf32>, tensor<16x8xf32>) -> tensor<?x1x16x8xf32>
  %br = onnx.Mul %b1, %angles : (tensor<?x1x16x8xf32>, tensor<16x8xf32>) -> tensor<?x1x16x8xf32>
  %q = onnx.Concat %a0, %ar {axis = 2 : i64} : (tensor<?x1x1x8xf32>, tensor<?x1x16x8xf32>) -> tensor<?x1x17x8xf32>
  %k = onnx.Concat %b0, %br {axis = 2 : i64} : (tensor<?x1x1x8xf32>, tensor<?x1x16x8xf32>) -> tensor<?x1x17x8xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x1x17x8xf32>) -> tensor<?x1x8x17xf32>
  %s = onnx.MatMul %q, %kt : (tensor<?x1x17x8xf32>, tensor<?x1x8x17xf32>) -> tensor<?x1x17x17xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x1x17x17xf32>) -> tensor<?x1x17x17xf32>
  %o = onnx.MatMul %p, %b : (tensor<?x1x17x17xf32>, tensor<?x1x17x8xf32>) -> tensor<?x1x17x8xf32>
  return %o : tensor<?x1x17x8xf32>
}

// Rows that are chosen from two orders have none.
// CHECK-LABEL: @chosen_queries(
// CHECK: megactx.attention {{.*}}kind = "cross"
// WHY: positions-unknown {{.*}}Function=chosen_queries
func.func @chosen_queries(%x: !x, %c: tensor<?x1xi1>) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %minus = onnx.initializer {value = dense<-1> : !i} : !i
  %end = onnx.initializer {value = dense<-9223372036854775807> : !i} : !i
  %a = onnx.MatMul %x, %w : (!x, !w) -> !x
  %r = onnx.Slice %a, %minus, %end, %2, %minus : (!x, !i, !i, !i, !i) -> !x
  %q = onnx.Where %c, %r, %a : (tensor<?x1xi1>, !x, !x) -> !x
  %kt = onnx.Transpose %a {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %a : (!p, !x) -> !x
  return %o : !x
}

// An operator's own mask counts rows as they are, a pattern of others does not.
// CHECK-LABEL: @operator_of_reversed_keys(
// CHECK: megactx.source {{.*}} pattern(#megactx.pattern<causal>)
// CHECK: megactx.attention {{.*}}kind = "cross"
// WHY: positions-unknown {{.*}}Function=operator_of_reversed_keys
func.func @operator_of_reversed_keys(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %minus = onnx.initializer {value = dense<-1> : !i} : !i
  %end = onnx.initializer {value = dense<-9223372036854775807> : !i} : !i
  %q = onnx.MatMul %x, %w : (!x, !w) -> !x
  %a = onnx.MatMul %x, %w : (!x, !w) -> !x
  %k = onnx.Slice %a, %minus, %end, %2, %minus : (!x, !i, !i, !i, !i) -> !x
  %o = onnx.Attention %q, %k, %k {is_causal = 1 : i64} : (!x, !x, !x) -> !x
  return %o : !x
}

// Also where nothing is known of the rows that its queries are of.
// CHECK-LABEL: @operator_of_reversed_queries(
// CHECK: megactx.attention {{.*}}kind = "cross"
// WHY: positions-unknown {{.*}}Function=operator_of_reversed_queries
func.func @operator_of_reversed_queries(%x: !x, %k: !x) -> !x {
  %2 = onnx.initializer {value = dense<2> : !i} : !i
  %minus = onnx.initializer {value = dense<-1> : !i} : !i
  %end = onnx.initializer {value = dense<-9223372036854775807> : !i} : !i
  %q = onnx.Slice %x, %minus, %end, %2, %minus : (!x, !i, !i, !i, !i) -> !x
  %o = onnx.Attention %q, %k, %k {is_causal = 1 : i64} : (!x, !x, !x) -> !x
  return %o : !x
}

// Rows that a mask of the model's own counts from one end with the keys' are of their sequence, whatever computes them (JetMoE's queries are an expert's for
// each token, which are put back in order).
// CHECK-LABEL: @rows_in_an_order_that_data_says(
// CHECK: megactx.source {{.*}}pattern(#megactx.pattern<causal>)
// CHECK: megactx.attention %{{[^"]*}}scale
func.func @rows_in_an_order_that_data_says(%x: !x {onnx.dims = ["b", "", "n", ""]}, %order: tensor<?x1x?x8xi64> {onnx.dims = ["b", "", "n", ""]}) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %none = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %0 = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %1 = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %2 = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %shape = onnx.Shape %x : (!x) -> tensor<4xi64>
  %n = onnx.Gather %shape, %2 {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %keys = onnx.Range %0, %n, %1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %last = onnx.initializer {value = dense<1> : !i} : !i
  %rows = onnx.Unsqueeze %keys, %last : (tensor<?xi64>, !i) -> tensor<?x1xi64>
  %hidden = onnx.Greater %keys, %rows : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %a = onnx.GatherElements %x, %order {axis = 2 : i64} : (!x, tensor<?x1x?x8xi64>) -> !x
  %q = onnx.MatMul %a, %w : (!x, !w) -> !x
  %k = onnx.MatMul %x, %w : (!x, !w) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %t = onnx.Where %hidden, %none, %s : (tensor<?x?xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// Entries in another order are of other sequences (LightGlue's pairs of images).
// CHECK-LABEL: @entries_turned_round(
// CHECK: megactx.attention {{.*}}kind = "cross"
func.func @entries_turned_round(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %0 = onnx.initializer {value = dense<0> : !i} : !i
  %minus = onnx.initializer {value = dense<-1> : !i} : !i
  %least = onnx.initializer {value = dense<-9223372036854775807> : !i} : !i
  %h = onnx.MatMul %x, %w : (!x, !w) -> !x
  %g = onnx.Relu %h : (!x) -> !x
  %m = onnx.MatMul %g, %w : (!x, !w) -> !x
  %y = onnx.Add %x, %m : (!x, !x) -> !x
  %other = onnx.Slice %y, %minus, %least, %0, %minus : (!x, !i, !i, !i, !i) -> !x
  %q = onnx.MatMul %y, %w : (!x, !w) -> !x
  %k = onnx.MatMul %other, %w : (!x, !w) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// Keys of a convolution of the rows up to their own, as causal ones are, are these rows' too.
// CHECK-LABEL: @convolved_keys(
// CHECK: megactx.attention %{{[^"]*}}scale
func.func @convolved_keys(%x: !c) -> tensor<?x1x?x8xf32> {
  %w1 = onnx.initializer {value = dense<0.5> : tensor<8x8x1xf32>} : tensor<8x8x1xf32>
  %w3 = onnx.initializer {value = dense<0.5> : tensor<8x8x3xf32>} : tensor<8x8x3xf32>
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %a = onnx.Conv %x, %w1 {kernel_shape = array<i64: 1>, strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64} : (!c, tensor<8x8x1xf32>) -> !c
  %before = onnx.Conv %a, %w3 {kernel_shape = array<i64: 3>, strides = array<i64: 1>, pads = array<i64: 2, 0>, dilations = array<i64: 1>, group = 1 : i64} : (!c, tensor<8x8x3xf32>) -> !c
  %b = onnx.Add %a, %before : (!c, !c) -> !c
  %at = onnx.Transpose %a {perm = array<i64: 0, 2, 1>} : (!c) -> tensor<?x?x8xf32>
  %bt = onnx.Transpose %b {perm = array<i64: 0, 2, 1>} : (!c) -> tensor<?x?x8xf32>
  %q = onnx.Unsqueeze %at, %1 : (tensor<?x?x8xf32>, !i) -> !x
  %k = onnx.Unsqueeze %bt, %1 : (tensor<?x?x8xf32>, !i) -> !x
  %kt = onnx.Unsqueeze %b, %1 : (!c, !i) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}
