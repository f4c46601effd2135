// Silent unless asked for.
// RUN: megactx-opt %s --megactx-raise-onnx-attention -o /dev/null 2>&1 | count 0
// RUN: megactx-opt %s --megactx-raise-onnx-attention -o /dev/null --remarks-filter=raise-onnx-attention 2>&1 | FileCheck %s
// RUN: megactx-opt %s --megactx-raise-onnx-attention -o /dev/null --remarks-filter-missed=raise-onnx-attention 2>&1 | FileCheck %s --check-prefix=MISSED
// RUN: megactx-opt %s --megactx-raise-onnx-attention -o /dev/null --remarks-filter=raise-onnx-attention --remark-format=yaml --remarks-output-file=%t.yaml
// RUN: FileCheck %s --check-prefix=YAML --input-file=%t.yaml

// MISSED-NOT: attention-raised

// YAML: --- !Missed
// YAML-NEXT: Pass: raise-onnx-attention
// YAML-NEXT: Name: attention-not-raised
// YAML: Function: over_queries
// YAML: Node: over
// YAML: Reason: it is not over the last axis

!q = tensor<?x2x?x8xf32>
!kt = tensor<?x2x8x?xf32>
!p = tensor<?x2x?x?xf32>

// CHECK: remark: {{.*}}[Missed] attention-not-raised | Category:raise-onnx-attention | Function=over_queries | Node=over, Reason="it is not over the last axis"
func.func @over_queries(%q: !q, %k: !q, %v: !q) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = 2 : i64} : (!p) -> !p loc("over")
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// CHECK: [Missed] attention-not-raised {{.*}}Function=no_scores | Reason="no product of queries and keys feeds it: it comes from input 'x'"
func.func @no_scores(%x: !p {onnx.name = "x"}) -> !p {
  %p = onnx.Softmax %x {axis = -1 : i64} : (!p) -> !p
  return %p : !p
}

// XCiT's covariance: a head's channels are its queries and keys.
// CHECK: [Missed] attention-not-raised {{.*}}Function=channels | Reason="its queries and keys are channels, whose products sum tokens"
func.func @channels(%x: tensor<2x?x16xf32>, %w: tensor<16x48xf32> {onnx.name = "w"}) -> tensor<2x2x8x?xf32> {
  %weight = onnx.initializer {value = dense<0.5> : tensor<16x48xf32>} : tensor<16x48xf32>
  %split = onnx.initializer {value = dense<[0, 0, 3, 2, 8]> : tensor<5xi64>} : tensor<5xi64>
  %last = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %i0 = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %i1 = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %i2 = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %qkv = onnx.MatMul %x, %weight : (tensor<2x?x16xf32>, tensor<16x48xf32>) -> tensor<2x?x48xf32>
  %r = onnx.Reshape %qkv, %split : (tensor<2x?x48xf32>, tensor<5xi64>) -> tensor<2x?x3x2x8xf32>
  %t = onnx.Transpose %r {perm = array<i64: 2, 0, 3, 4, 1>} : (tensor<2x?x3x2x8xf32>) -> tensor<3x2x2x8x?xf32>
  %q = onnx.Gather %t, %i0 {axis = 0 : i64} : (tensor<3x2x2x8x?xf32>, tensor<i64>) -> tensor<2x2x8x?xf32>
  %k = onnx.Gather %t, %i1 {axis = 0 : i64} : (tensor<3x2x2x8x?xf32>, tensor<i64>) -> tensor<2x2x8x?xf32>
  %v = onnx.Gather %t, %i2 {axis = 0 : i64} : (tensor<3x2x2x8x?xf32>, tensor<i64>) -> tensor<2x2x8x?xf32>
  %norm = onnx.ReduceMax %q, %last {keepdims = 1 : i64} : (tensor<2x2x8x?xf32>, tensor<1xi64>) -> tensor<2x2x8x1xf32>
  %qn = onnx.Div %q, %norm : (tensor<2x2x8x?xf32>, tensor<2x2x8x1xf32>) -> tensor<2x2x8x?xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x2x8x?xf32>) -> tensor<2x2x?x8xf32>
  %s = onnx.MatMul %qn, %kt : (tensor<2x2x8x?xf32>, tensor<2x2x?x8xf32>) -> tensor<2x2x8x8xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<2x2x8x8xf32>) -> tensor<2x2x8x8xf32>
  %o = onnx.MatMul %p, %v : (tensor<2x2x8x8xf32>, tensor<2x2x8x?xf32>) -> tensor<2x2x8x?xf32>
  return %o : tensor<2x2x8x?xf32>
}

// Linear attention's keys, which a softmax over tokens weighs.
// CHECK: [Missed] attention-not-raised {{.*}}Function=linear | Reason="no product of queries and keys feeds it: the result of node 'keys' (MatMul) is a projection of one tensor: pairs of a query and a key have no scores, as in linear attention"
func.func @linear(%x: tensor<?x?x16xf32>, %v: tensor<?x?x16xf32>) -> tensor<?x16x16xf32> {
  %weight = onnx.initializer {value = dense<0.5> : tensor<16x16xf32>} : tensor<16x16xf32>
  %k = onnx.MatMul %x, %weight : (tensor<?x?x16xf32>, tensor<16x16xf32>) -> tensor<?x?x16xf32> loc("keys")
  %p = onnx.Softmax %k {axis = 1 : i64} : (tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
  %t = onnx.Transpose %p {perm = array<i64: 0, 2, 1>} : (tensor<?x?x16xf32>) -> tensor<?x16x?xf32>
  %o = onnx.MatMul %t, %v : (tensor<?x16x?xf32>, tensor<?x?x16xf32>) -> tensor<?x16x16xf32>
  return %o : tensor<?x16x16xf32>
}

// CHECK: [Missed] attention-not-raised {{.*}}Function=of_weights | Reason="its scores are computed of weights alone"
func.func @of_weights(%v: !q) -> !q {
  %table = onnx.initializer {value = dense<0.5> : tensor<1x2x5x5xf32>} : tensor<1x2x5x5xf32>
  %s = onnx.Neg %table : (tensor<1x2x5x5xf32>) -> tensor<1x2x5x5xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<1x2x5x5xf32>) -> tensor<1x2x5x5xf32>
  %o = onnx.MatMul %p, %v : (tensor<1x2x5x5xf32>, !q) -> !q
  return %o : !q
}

// Of all that is in the way, what is farthest from the Softmax is told.
// CHECK: [Missed] attention-not-raised {{.*}}Function=row_scale_above_a_mask | Reason="no product of queries and keys feeds it: the result of node 'rows' (Mul) scales capped, reshaped or masked scores by more than one number"
func.func @row_scale_above_a_mask(%q: !q, %k: !q, %v: !q, %m: !p, %c: tensor<2x1x1xf32>) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %a = onnx.Add %s, %m : (!p, !p) -> !p
  %t = onnx.Mul %a, %c : (!p, tensor<2x1x1xf32>) -> !p loc("rows")
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// CHECK: [Missed] attention-not-raised {{.*}}Function=values_that_are_a_vector | {{.*}}Reason="an operand of its products is a vector"
func.func @values_that_are_a_vector(%q: !q, %k: !q, %v: tensor<?xf32>) -> tensor<?x2x?xf32> {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p loc("all")
  %o = onnx.MatMul %p, %v : (!p, tensor<?xf32>) -> tensor<?x2x?xf32>
  return %o : tensor<?x2x?xf32>
}

// CHECK: [Missed] attention-not-raised {{.*}}Function=softmax_in_parts | Reason="it is a softmax in parts, from Exp to Div, not a Softmax"
func.func @softmax_in_parts(%s: !p, %v: !q) -> !q {
  %axes = onnx.initializer {value = dense<[-1, -2]> : tensor<2xi64>} : tensor<2xi64>
  %e = onnx.Exp %s : (!p) -> !p
  %sum = onnx.ReduceSum %e, %axes : (!p, tensor<2xi64>) -> tensor<?x2x1x1xf32>
  %p = onnx.Div %e, %sum : (!p, tensor<?x2x1x1xf32>) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// CHECK: [Missed] attention-not-raised {{.*}}Function=foreign_operator | Reason="an operator, or a form of it, that is not known in ONNX's terms"
func.func @foreign_operator(%x: !q) -> !q {
  %o = "onnx.com.microsoft.PagedAttention"(%x) : (!q) -> !q
  return %o : !q
}

// CHECK: [Missed] attention-not-raised {{.*}}Function=operator_without_heads | Reason="it has heads folded into the last dim and no q_num_heads"
func.func @operator_without_heads(%x: tensor<1x4x16xf32>) -> tensor<1x4x16xf32> {
  %o = onnx.Attention %x, %x, %x : (tensor<1x4x16xf32>, tensor<1x4x16xf32>, tensor<1x4x16xf32>) -> tensor<1x4x16xf32>
  return %o : tensor<1x4x16xf32>
}

// CHECK: [Missed] term-stays-bias {{.*}}Function=padding_mask | Node=apply, Reason="data dependent: where it masks depends on input 'mask'", Remark="the result of node 'less' (Mul)"
// CHECK: [Passed] attention-raised {{.*}}Function=padding_mask | Remark=dense
func.func @padding_mask(%q: !q {onnx.dims = ["b", "", "n", ""]}, %v: !q, %mask: tensor<?x1x1x?xi1> {onnx.name = "mask", onnx.dims = ["b", "", "", "n"]}) -> !q {
  %least = onnx.initializer {value = dense<-1.0e9> : tensor<f32>} : tensor<f32>
  %not = onnx.Not %mask : (tensor<?x1x1x?xi1>) -> tensor<?x1x1x?xi1>
  %real = onnx.Cast %not {to = 1 : i64} : (tensor<?x1x1x?xi1>) -> tensor<?x1x1x?xf32>
  %m = onnx.Mul %real, %least : (tensor<?x1x1x?xf32>, tensor<f32>) -> tensor<?x1x1x?xf32> loc("less")
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %m : (!p, tensor<?x1x1x?xf32>) -> !p loc("apply")
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// CHECK: [Missed] term-stays-bias {{.*}}Function=constant_matrix | Reason="it adds the numbers of initializer 'm', which are no bands, diagonals or blocks of masked places", Remark="initializer 'm'"
func.func @constant_matrix(%q: tensor<1x2x3x8xf32>) -> tensor<1x2x3x8xf32> {
  %mask = onnx.initializer {value = dense<[[0., 0., -1.0e9], [0., -1.0e9, 0.], [0., -1.0e9, -1.0e9]]> : tensor<3x3xf32>, onnx.outputs = ["m"]} : tensor<3x3xf32>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x3x8xf32>) -> tensor<1x2x8x3xf32>
  %s = onnx.MatMul %q, %kt : (tensor<1x2x3x8xf32>, tensor<1x2x8x3xf32>) -> tensor<1x2x3x3xf32>
  %t = onnx.Add %s, %mask : (tensor<1x2x3x3xf32>, tensor<3x3xf32>) -> tensor<1x2x3x3xf32>
  %p = onnx.Softmax %t {axis = -1 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %o = onnx.MatMul %p, %q : (tensor<1x2x3x3xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x3x8xf32>
  return %o : tensor<1x2x3x8xf32>
}

// CHECK: [Missed] term-stays-bias {{.*}}Function=values_that_do_not_mask | Reason="no mask: it adds values of input 'm'", Remark="input 'm'"
func.func @values_that_do_not_mask(%q: !q, %v: !q, %m: !p {onnx.name = "m"}) -> !q {
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %m : (!p, !p) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// CHECK: [Missed] term-stays-bias {{.*}}Function=mask_behind_a_cache | Reason="its queries stand behind a cache, at positions that the mask's rows do not tell"
func.func @mask_behind_a_cache(%q: !q, %past: !q, %m: tensor<?x?xi1>) -> !q {
  %o:3 = "onnx.Attention"(%q, %q, %q, %m, %past, %past) {is_causal = 1 : i64} : (!q, !q, !q, tensor<?x?xi1>, !q, !q) -> (!q, !q, !q)
  return %o#0 : !q
}

// CHECK: [Passed] attention-raised {{.*}}Function=nothing_left | Node=soft, Remark=causal
func.func @nothing_left(%x: !q) -> !q {
  %o = "onnx.Attention"(%x, %x, %x) {is_causal = 1 : i64} : (!q, !q, !q) -> !q loc("soft")
  return %o : !q
}
