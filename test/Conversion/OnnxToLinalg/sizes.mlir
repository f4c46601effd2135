// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg --canonicalize --cse --split-input-file | FileCheck %s

// As many rows as there are, out of a table: the sizes broadcast only where they are equal, which is checked, and known from then on.
// CHECK-LABEL: @rows_of_a_table
// CHECK: %[[N:.*]] = tensor.dim
// CHECK: %[[ROWS:.*]] = arith.minsi %[[N]], %{{.*}}
// CHECK: %[[SAME:.*]] = arith.cmpi eq, %[[ROWS]], %[[N]]
// CHECK: cf.assert %[[SAME]], "operands do not broadcast"
// CHECK-NOT: cf.assert
// CHECK-NOT: tensor.extract %
// CHECK: arith.addf
// CHECK: arith.mulf
// CHECK: return
module attributes {onnx.model} {
func.func @rows_of_a_table(%x: tensor<?x4xf32>, %table: tensor<512x4xf32>) -> tensor<?x4xf32> {
  %start = "onnx.Constant"() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = "onnx.Constant"() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = "onnx.Shape"(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %n = "onnx.Slice"(%shape, %start, %one) : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %rows = "onnx.Slice"(%table, %start, %n) : (tensor<512x4xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4xf32>
  %sum = "onnx.Add"(%rows, %x) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %product = "onnx.Mul"(%sum, %x) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %product : tensor<?x4xf32>
}
}

// -----

// The rows of attention are those of its queries, whatever types say.
// CHECK-LABEL: @rows_of_attention
// CHECK: megactx.attention
// CHECK-NOT: cf.assert
// CHECK-NOT: tensor.extract %
// CHECK: arith.addf
// CHECK: return
!q = tensor<?x2x?x8xf32>
!any = tensor<?x?x?x8xf32>
module attributes {onnx.model} {
func.func @rows_of_attention(%q: !q, %k: !q) -> !q {
  %s = megactx.source %k, %k pattern(#megactx.pattern<causal>) : (!q, !q) -> !megactx.source<!q, !q>
  %a = tensor.cast %q : !q to !any
  %o = megactx.attention %a, %s {scale = 1.0 : f32} : (!any, !megactx.source<!q, !q>) -> !any
  %c = tensor.cast %o : !any to !any
  %twice = "onnx.Add"(%c, %c) : (!any, !any) -> !any
  %d = tensor.cast %twice : !any to !any
  %sum = "onnx.Add"(%q, %d) : (!q, !any) -> !q
  return %sum : !q
}
}

// -----

// Positions from 0 to the number of rows are as many as there are rows: nothing is checked, and nothing chosen by indices, where they meet.
// CHECK-LABEL: @range_of_rows
// CHECK: %[[N:.*]] = tensor.dim
// CHECK: tensor.empty(%[[N]]) : tensor<?xi64>
// CHECK-NOT: arith.maxsi
// CHECK-NOT: cf.assert
// CHECK-NOT: tensor.extract
// CHECK: arith.addf
// CHECK: return
module attributes {onnx.model} {
func.func @range_of_rows(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %start = "onnx.Constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %step = "onnx.Constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %axes = "onnx.Constant"() {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %first = "onnx.Constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %shape = "onnx.Shape"(%x) : (tensor<?x4xf32>) -> tensor<2xi64>
  %n = "onnx.Gather"(%shape, %first) : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %range = "onnx.Range"(%start, %n, %step) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %places = "onnx.Cast"(%range) {to = 1 : si64} : (tensor<?xi64>) -> tensor<?xf32>
  %column = "onnx.Unsqueeze"(%places, %axes) : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %sum = "onnx.Add"(%x, %column) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %sum : tensor<?x4xf32>
}
}

// -----

// A product checks its inner dim, which has the weights' size from then on.
// CHECK-LABEL: @inner_dim_of_weights
// CHECK: cf.assert %{{.*}}, "inner dims of MatMul differ"
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1x?x8xf32>, tensor<1x8x16xf32>)
module attributes {onnx.model} {
func.func @inner_dim_of_weights(%x: tensor<2x?x?xf32>, %w: tensor<8x16xf32>) -> tensor<2x?x16xf32> {
  %y = "onnx.MatMul"(%x, %w) : (tensor<2x?x?xf32>, tensor<8x16xf32>) -> tensor<2x?x16xf32>
  return %y : tensor<2x?x16xf32>
}
}

// -----

// Pads by axis, from the last one back and both ends of one together, as PyTorch counts them, are turned round: what is negative is known.
// CHECK-LABEL: @pads_turned_round
// CHECK-NOT: a pad is negative
// CHECK: tensor.pad %{{.*}} low[0, 1, 0] high[0, 0, 0]
module attributes {onnx.model} {
func.func @pads_turned_round(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %given = onnx.initializer {value = dense<[0, 0, 1, -1, 0, 0]> : tensor<6xi64>} : tensor<6xi64>
  %two = onnx.initializer {value = dense<[-1, 2]> : tensor<2xi64>} : tensor<2xi64>
  %back = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %begin = onnx.initializer {value = dense<-9223372036854775807> : tensor<1xi64>} : tensor<1xi64>
  %axis = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %pairs = onnx.Reshape %given, %two : (tensor<6xi64>, tensor<2xi64>) -> tensor<3x2xi64>
  %turned = onnx.Slice %pairs, %back, %begin, %axis, %back : (tensor<3x2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3x2xi64>
  %ends = onnx.Transpose %turned {perm = array<i64: 1, 0>} : (tensor<3x2xi64>) -> tensor<2x3xi64>
  %pads = onnx.Reshape %ends, %back : (tensor<2x3xi64>, tensor<1xi64>) -> tensor<6xi64>
  %y = onnx.Pad %x, %pads {mode = "constant"} : (tensor<?x?x4xf32>, tensor<6xi64>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}
}

// -----

// A weight that lies transposed is read as it lies.
// CHECK-LABEL: @weight_transposed
// CHECK: %[[W:.+]] = arith.constant dense_resource<w> : tensor<8x4xf32>
// CHECK: %[[ROWS:.+]] = tensor.expand_shape %[[W]]
// CHECK: megactx.transpose_view %[[ROWS]]
// CHECK: return
module attributes {onnx.model} {
func.func @weight_transposed(%x: tensor<?x4xf32>) -> tensor<?x8xf32> {
  %w = onnx.initializer {value = dense_resource<w> : tensor<8x4xf32>} : tensor<8x4xf32>
  %y = onnx.Gemm %x, %w {transB = 1 : i64} : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
}

{-#
  dialect_resources: {
    builtin: {
      w: "0x040000000000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F"
    }
  }
#-}

// -----

// Batch and heads as one dimension, whose size is a product, and apart again: -1 is the batch.
// CHECK-LABEL: @heads_of_attention_merged_and_split
// CHECK: %[[OUT:.*]] = megactx.attention
// CHECK-NOT: cf.assert
// CHECK-NOT: arith.floordivsi
// CHECK: linalg.generic {{.*}} ins(%[[OUT]], %{{.*}} :
// CHECK: return
!q = tensor<?x2x?x8xf32>
module attributes {onnx.model} {
func.func @heads_of_attention_merged_and_split(%q: !q) -> !q {
  %s = megactx.source %q, %q pattern(#megactx.pattern<causal>) : (!q, !q) -> !megactx.source<!q, !q>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!q, !megactx.source<!q, !q>) -> !q
  %merged = tensor.collapse_shape %o [[0, 1], [2], [3]] : !q into tensor<?x?x8xf32>
  %two = "onnx.Constant"() {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %three = "onnx.Constant"() {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  %batch = "onnx.Constant"() {value = dense<-1> : tensor<1xi64>} : () -> tensor<1xi64>
  %dim = "onnx.Constant"() {value = dense<8> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = "onnx.Shape"(%q) : (!q) -> tensor<4xi64>
  %length = "onnx.Slice"(%shape, %two, %three) : (tensor<4xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %sizes = "onnx.Concat"(%batch, %two, %length, %dim) {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %split = "onnx.Reshape"(%merged, %sizes) : (tensor<?x?x8xf32>, tensor<4xi64>) -> tensor<?x?x?x?xf32>
  %sum = "onnx.Add"(%split, %q) : (tensor<?x?x?x?xf32>, !q) -> !q
  return %sum : !q
}
}

// -----

// Pads up to whole blocks, of a remainder of what is negative: those of the other dims stay known.
// CHECK-LABEL: @pads_to_blocks
// CHECK-NOT: tensor.extract %
// CHECK: tensor.pad %{{.*}} low[0, 0] high[%{{.*}}, 0]
// CHECK: tensor<?x4xf32> to tensor<?x4xf32>
// CHECK-NOT: tensor.extract %
module attributes {onnx.model} {
func.func @pads_to_blocks(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %zero = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %one = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %block = onnx.initializer {value = dense<128> : tensor<i64>} : tensor<i64>
  %shape = onnx.Shape %x : (tensor<?x4xf32>) -> tensor<2xi64>
  %n = onnx.Slice %shape, %zero, %one : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %less = onnx.Neg %n : (tensor<1xi64>) -> tensor<1xi64>
  %rest = onnx.Mod %less, %block {fmod = 0 : i64} : (tensor<1xi64>, tensor<i64>) -> tensor<1xi64>
  %pads = onnx.Concat %zero, %zero, %rest, %zero {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %y = onnx.Pad %x, %pads {mode = "constant"} : (tensor<?x4xf32>, tensor<4xi64>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
}

// -----

// One tensor by itself is that tensor: nothing is copied.
// CHECK-LABEL: @concat_of_one
// CHECK-SAME: [[X:%[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NEXT: return [[X]]
module attributes {onnx.opset = 27 : i64} {
func.func @concat_of_one(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = onnx.Concat %x {axis = 0 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
}

// -----

// As exporters write padding to whole blocks, n + (128 - n mod 128) mod 128: no less than n, and 128 times the number of blocks. By a quotient or by -1, that is one number, and nothing is checked.
// CHECK-LABEL: @blocks_of_padded_rows
// CHECK: %[[N:.*]] = tensor.dim
// CHECK: %[[UP:.*]] = arith.addi %[[N]], %c127
// CHECK: %[[BLOCKS:.*]] = arith.floordivsi %[[UP]], %c128
// CHECK-NOT: arith.floordivsi
// CHECK-NOT: cf.assert
// CHECK-NOT: tensor.extract %
// CHECK: tensor.expand_shape %{{.*}} output_shape [%[[BLOCKS]], 128, 4]
// CHECK-NOT: arith.floordivsi
// CHECK-NOT: cf.assert
// CHECK-NOT: tensor.extract %
// CHECK: return
module attributes {onnx.model} {
func.func @blocks_of_padded_rows(%x: tensor<?x4xf32>) -> tensor<?x?x?xf32> {
  %zero = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %one = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %four = onnx.initializer {value = dense<4> : tensor<1xi64>} : tensor<1xi64>
  %rest = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %block = onnx.initializer {value = dense<128> : tensor<1xi64>} : tensor<1xi64>
  %shape = onnx.Shape %x : (tensor<?x4xf32>) -> tensor<2xi64>
  %n = onnx.Slice %shape, %zero, %one : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %last = onnx.Mod %n, %block {fmod = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %free = onnx.Sub %block, %last : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %pad = onnx.Mod %free, %block {fmod = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %pads = onnx.Concat %zero, %zero, %pad, %zero {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %y = onnx.Pad %x, %pads {mode = "constant"} : (tensor<?x4xf32>, tensor<4xi64>) -> tensor<?x4xf32>
  %all = onnx.Add %n, %pad : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %blocks = onnx.Div %all, %block : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %byCount = onnx.Concat %blocks, %block, %four {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %byRest = onnx.Concat %rest, %block, %four {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %p = onnx.Reshape %y, %byCount : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x?x?xf32>
  %q = onnx.Reshape %y, %byRest : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x?x?xf32>
  %sum = onnx.Add %p, %q : (tensor<?x?x?xf32>, tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  return %sum : tensor<?x?x?xf32>
}
}

// -----

// As TorchScript exports positions from 0 on: where a tensor is not 0 that is 1 throughout. They are as many as there are rows, and nothing is counted.
// CHECK-LABEL: @places_of_ones
// CHECK: %[[N:.*]] = tensor.dim
// CHECK-NOT: scf.for
// CHECK-NOT: cf.assert
// CHECK: tensor.empty(%[[N]]) : tensor<?x4xf32>
// CHECK-NOT: tensor.extract %
// CHECK: return
module attributes {onnx.model} {
func.func @places_of_ones(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %shape = onnx.Shape %x {start = 0 : i64, end = 1 : i64} : (tensor<?x4xf32>) -> tensor<1xi64>
  %ones = onnx.ConstantOfShape %shape {value = dense<1> : tensor<1xi64>} : (tensor<1xi64>) -> tensor<?xi64>
  %places = onnx.NonZero %ones : (tensor<?xi64>) -> tensor<1x?xi64>
  %rows = onnx.Transpose %places {perm = array<i64: 1, 0>} : (tensor<1x?xi64>) -> tensor<?x1xi64>
  %numbers = onnx.Cast %rows {to = 1 : si64} : (tensor<?x1xi64>) -> tensor<?x1xf32>
  %sum = onnx.Add %x, %numbers : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %sum : tensor<?x4xf32>
}
}

// -----

// Of few, each is known; of zeros there are none.
// CHECK-LABEL: @places_of_few_ones
// CHECK-DAG: dense<{{\[\[}}0, 1, 2]]> : tensor<1x3xi64>
// CHECK-DAG: tensor<2x0xi64>
// CHECK-NOT: scf.for
// CHECK: return
module attributes {onnx.model} {
func.func @places_of_few_ones() -> (tensor<1x?xi64>, tensor<2x?xi64>) {
  %three = onnx.initializer {value = dense<3> : tensor<1xi64>} : tensor<1xi64>
  %both = onnx.initializer {value = dense<[3, 4]> : tensor<2xi64>} : tensor<2xi64>
  %ones = onnx.ConstantOfShape %three {value = dense<1> : tensor<1xi64>} : (tensor<1xi64>) -> tensor<3xi64>
  %places = onnx.NonZero %ones : (tensor<3xi64>) -> tensor<1x?xi64>
  %zeros = onnx.ConstantOfShape %both {value = dense<0.0> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<3x4xf32>
  %none = onnx.NonZero %zeros : (tensor<3x4xf32>) -> tensor<2x?xi64>
  return %places, %none : tensor<1x?xi64>, tensor<2x?xi64>
}
}
