// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s

!q = tensor<?x2x?x8xf32>
!kt = tensor<?x2x8x?xf32>
!p = tensor<?x2x?x?xf32>

// The scores' own sizes: -inf above the diagonal.
// CHECK-LABEL: @upper_triangle_of_infinities
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<causal>)
func.func @upper_triangle_of_infinities(%x: tensor<?x?x16xf32> {onnx.dims = ["b", "n", ""]}, %q: !q {onnx.dims = ["b", "", "n", ""]}, %v: !q {onnx.dims = ["b", "", "n", ""]}) -> !q {
  %one = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %at = onnx.initializer {value = dense<[1, 1]> : tensor<2xi64>} : tensor<2xi64>
  %shape = onnx.Shape %x : (tensor<?x?x16xf32>) -> tensor<3xi64>
  %sizes = onnx.Gather %shape, %at {axis = 0 : i64} : (tensor<3xi64>, tensor<2xi64>) -> tensor<2xi64>
  %full = onnx.ConstantOfShape %sizes {value = dense<0xFF800000> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<?x?xf32>
  %mask = onnx.Trilu %full, %one {upper = 1 : i64} : (tensor<?x?xf32>, tensor<i64>) -> tensor<?x?xf32>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %mask : (!p, tensor<?x?xf32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A matrix of ones below the diagonal, and of it as much as there are tokens.
// CHECK-LABEL: @constant_matrix_sliced
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<causal>)
func.func @constant_matrix_sliced(%q: !q {onnx.dims = ["b", "", "n", ""]}, %v: !q) -> !q {
  %tril = onnx.initializer {value = dense<[[[[1., 0., 0., 0.], [1., 1., 0., 0.], [1., 1., 1., 0.], [1., 1., 1., 1.]]]]> : tensor<1x1x4x4xf32>} : tensor<1x1x4x4xf32>
  %fill = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %none = onnx.initializer {value = dense<0.> : tensor<f32>} : tensor<f32>
  %start = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %two = onnx.initializer {value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %three = onnx.initializer {value = dense<3> : tensor<1xi64>} : tensor<1xi64>
  %shape = onnx.Shape %q : (!q) -> tensor<4xi64>
  %n = onnx.Gather %shape, %two {axis = 0 : i64} : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %rows = onnx.Slice %tril, %start, %n, %two : (tensor<1x1x4x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x?x4xf32>
  %part = onnx.Slice %rows, %start, %n, %three : (tensor<1x1x?x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x?x?xf32>
  %masked = onnx.Equal %part, %none : (tensor<1x1x?x?xf32>, tensor<f32>) -> tensor<1x1x?x?xi1>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Where %masked, %fill, %s : (tensor<1x1x?x?xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A band, and of it as much as there are tokens, of which there are at most four: queries, keys and band have one size,
// which is a choice. GPT-Neo's second layer.
// CHECK-LABEL: @constant_band_sliced_by_a_choice
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<window<left = 1, right = 0>>)
func.func @constant_band_sliced_by_a_choice(%x: tensor<?x?x16xf32>, %y: tensor<?x?x16xf32>, %v: !q) -> !q {
  %band = onnx.initializer {value = dense<[[true, false, false, false], [true, true, false, false], [false, true, true, false], [false, false, true, true]]> : tensor<4x4xi1>} : tensor<4x4xi1>
  %fill = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %four = onnx.initializer {value = dense<4> : tensor<1xi64>} : tensor<1xi64>
  %batch = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %heads = onnx.initializer {value = dense<[2, 8]> : tensor<2xi64>} : tensor<2xi64>
  %shape = onnx.Shape %v : (!q) -> tensor<4xi64>
  %two = onnx.initializer {value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %n = onnx.Gather %shape, %two {axis = 0 : i64} : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %most = onnx.Min %n, %four : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %sizes = onnx.Concat %batch, %most, %heads {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<4xi64>
  %xs = onnx.Reshape %x, %sizes : (tensor<?x?x16xf32>, tensor<4xi64>) -> tensor<?x?x2x8xf32>
  %ys = onnx.Reshape %y, %sizes : (tensor<?x?x16xf32>, tensor<4xi64>) -> tensor<?x?x2x8xf32>
  %q = onnx.Transpose %xs {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x8xf32>) -> !q
  %kt = onnx.Transpose %ys {perm = array<i64: 0, 2, 3, 1>} : (tensor<?x?x2x8xf32>) -> !kt
  %rows = onnx.Slice %band, %0, %most, %0, %1 : (tensor<4x4xi1>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4xi1>
  %part = onnx.Slice %rows, %0, %most, %1, %1 : (tensor<?x4xi1>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xi1>
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Where %part, %s, %fill : (tensor<?x?xi1>, !p, tensor<f32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// The same behind a cache: the band's rows begin where it ends. There may be no new tokens, of which a size of 0 is said,
// which is one that is no other dim's.
// CHECK-LABEL: @constant_band_behind_a_cache
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<window<left = 1, right = 0>>)
// CHECK-LABEL: @zero_that_copies
// CHECK: megactx.source {{.*}} bias({{.*}})
func.func @constant_band_behind_a_cache(%x: tensor<?x?x16xf32>, %v: !q {onnx.dims = ["b", "", "p", ""]}, %past: !q {onnx.dims = ["b", "", "p", ""]}) -> !q {
  %band = onnx.initializer {value = dense<[[true, false, false, false], [true, true, false, false], [false, true, true, false], [false, false, true, true]]> : tensor<4x4xi1>} : tensor<4x4xi1>
  %fill = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %four = onnx.initializer {value = dense<4> : tensor<1xi64>} : tensor<1xi64>
  %batch = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %heads = onnx.initializer {value = dense<[2, 8]> : tensor<2xi64>} : tensor<2xi64>
  %new = onnx.Shape %x {start = 1 : i64, end = 2 : i64} : (tensor<?x?x16xf32>) -> tensor<1xi64>
  %p = onnx.Shape %past {start = 2 : i64, end = 3 : i64} : (!q) -> tensor<1xi64>
  %left = onnx.Sub %four, %new : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %n = onnx.Max %0, %left : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %end = onnx.Add %p, %n : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %sizes = onnx.Concat %batch, %n, %heads {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<4xi64>
  %xs = onnx.Reshape %x, %sizes {allowzero = 1 : i64} : (tensor<?x?x16xf32>, tensor<4xi64>) -> tensor<?x?x2x8xf32>
  %ys = onnx.Reshape %x, %sizes {allowzero = 1 : i64} : (tensor<?x?x16xf32>, tensor<4xi64>) -> tensor<?x?x2x8xf32>
  %q = onnx.Transpose %xs {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x8xf32>) -> !q
  %k = onnx.Transpose %ys {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x8xf32>) -> !q
  %ks = onnx.Concat %past, %k {axis = -2 : i64} : (!q, !q) -> !q
  %vs = onnx.Concat %v, %k {axis = -2 : i64} : (!q, !q) -> !q
  %kt = onnx.Transpose %ks {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %rows = onnx.Slice %band, %p, %end, %0, %1 : (tensor<4x4xi1>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4xi1>
  %part = onnx.Slice %rows, %0, %end, %1, %1 : (tensor<?x4xi1>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xi1>
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Where %part, %s, %fill : (tensor<?x?xi1>, !p, tensor<f32>) -> !p
  %probabilities = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %probabilities, %vs : (!p, !q) -> !q
  return %o : !q
}

func.func @zero_that_copies(%x: tensor<?x?x16xf32>, %y: tensor<?x?x16xf32>, %v: !q {onnx.dims = ["b", "", "p", ""]}, %past: !q {onnx.dims = ["b", "", "p", ""]}) -> !q {
  %band = onnx.initializer {value = dense<[[true, false, false, false], [true, true, false, false], [false, true, true, false], [false, false, true, true]]> : tensor<4x4xi1>} : tensor<4x4xi1>
  %fill = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %four = onnx.initializer {value = dense<4> : tensor<1xi64>} : tensor<1xi64>
  %batch = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %heads = onnx.initializer {value = dense<[2, 8]> : tensor<2xi64>} : tensor<2xi64>
  %new = onnx.Shape %x {start = 1 : i64, end = 2 : i64} : (tensor<?x?x16xf32>) -> tensor<1xi64>
  %p = onnx.Shape %past {start = 2 : i64, end = 3 : i64} : (!q) -> tensor<1xi64>
  %left = onnx.Sub %four, %new : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %n = onnx.Max %0, %left : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %end = onnx.Add %p, %n : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %sizes = onnx.Concat %batch, %n, %heads {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<4xi64>
  %xs = onnx.Reshape %x, %sizes : (tensor<?x?x16xf32>, tensor<4xi64>) -> tensor<?x?x2x8xf32>
  %ys = onnx.Reshape %y, %sizes : (tensor<?x?x16xf32>, tensor<4xi64>) -> tensor<?x?x2x8xf32>
  %q = onnx.Transpose %xs {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x8xf32>) -> !q
  %k = onnx.Transpose %ys {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x8xf32>) -> !q
  %ks = onnx.Concat %past, %k {axis = -2 : i64} : (!q, !q) -> !q
  %vs = onnx.Concat %v, %k {axis = -2 : i64} : (!q, !q) -> !q
  %kt = onnx.Transpose %ks {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %rows = onnx.Slice %band, %p, %end, %0, %1 : (tensor<4x4xi1>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4xi1>
  %part = onnx.Slice %rows, %0, %end, %1, %1 : (tensor<?x4xi1>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xi1>
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Where %part, %s, %fill : (tensor<?x?xi1>, !p, tensor<f32>) -> !p
  %probabilities = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %probabilities, %vs : (!p, !q) -> !q
  return %o : !q
}

// Any other matrix stays as bias.
// CHECK-LABEL: @constant_matrix_that_no_pattern_says
// CHECK: megactx.source {{.*}} bias({{.*}}) pattern(#megactx.pattern<dense>)
func.func @constant_matrix_that_no_pattern_says(%q: tensor<1x2x3x8xf32>) -> tensor<1x2x3x8xf32> {
  %mask = onnx.initializer {value = dense<[[0., 0., -1.0e9], [0., -1.0e9, 0.], [0., -1.0e9, -1.0e9]]> : tensor<3x3xf32>} : tensor<3x3xf32>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x3x8xf32>) -> tensor<1x2x8x3xf32>
  %s = onnx.MatMul %q, %kt : (tensor<1x2x3x8xf32>, tensor<1x2x8x3xf32>) -> tensor<1x2x3x3xf32>
  %t = onnx.Add %s, %mask : (tensor<1x2x3x3xf32>, tensor<3x3xf32>) -> tensor<1x2x3x3xf32>
  %p = onnx.Softmax %t {axis = -1 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %o = onnx.MatMul %p, %q : (tensor<1x2x3x3xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x3x8xf32>
  return %o : tensor<1x2x3x8xf32>
}

// Positions that are repeated for each entry of the batch, Whisper's way.
// CHECK-LABEL: @tiled_positions
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<causal>)
func.func @tiled_positions(%q: !q {onnx.dims = ["b", "", "n", ""]}, %k: !q {onnx.dims = ["b", "", "n", ""]}) -> !q {
  %from = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %by = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %none = onnx.initializer {value = dense<0.> : tensor<f32>} : tensor<f32>
  %fill = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %one = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %rows = onnx.initializer {value = dense<[1, 3]> : tensor<2xi64>} : tensor<2xi64>
  %columns = onnx.initializer {value = dense<[1, 2]> : tensor<2xi64>} : tensor<2xi64>
  %b = onnx.Shape %q {start = 0 : i64, end = 1 : i64} : (!q) -> tensor<1xi64>
  %size = onnx.Shape %q {start = 2 : i64, end = 3 : i64} : (!q) -> tensor<1xi64>
  %n = onnx.Squeeze %size : (tensor<1xi64>) -> tensor<i64>
  %range = onnx.Range %from, %n, %by : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %row = onnx.Unsqueeze %range, %zero : (tensor<?xi64>, tensor<1xi64>) -> tensor<1x?xi64>
  %repeats = onnx.Concat %b, %one {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %all = onnx.Tile %row, %repeats : (tensor<1x?xi64>, tensor<2xi64>) -> tensor<?x?xi64>
  %x = onnx.Unsqueeze %all, %rows : (tensor<?x?xi64>, tensor<2xi64>) -> tensor<?x1x?x1xi64>
  %y = onnx.Unsqueeze %all, %columns : (tensor<?x?xi64>, tensor<2xi64>) -> tensor<?x1x1x?xi64>
  %seen = onnx.LessOrEqual %y, %x : (tensor<?x1x1x?xi64>, tensor<?x1x?x1xi64>) -> tensor<?x1x?x?xi1>
  %mask = onnx.Where %seen, %none, %fill : (tensor<?x1x?x?xi1>, tensor<f32>, tensor<f32>) -> tensor<?x1x?x?xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %mask : (!p, tensor<?x1x?x?xf32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !q) -> !q
  return %o : !q
}

// LLaMA's mask as transformers 4.38 to 4.47 write it: above the diagonal the least number, and where the padding mask is 0 too, assigned to the
// slice of as many columns as the padding mask has.
// CHECK-LABEL: @assigned_slice
// CHECK: megactx.source {{.*}} bias(%{{.+}}) pattern(#megactx.pattern<causal>) : ({{.*}}, tensor<?x1x1x?xf32>)
// CHECK-NOT: onnx.ScatterND
!i = tensor<?x?x?x1xi64>
!sq = tensor<?x?x?xf32>
func.func @assigned_slice(%q: !q {onnx.dims = ["b", "", "n", ""]}, %k: !q {onnx.dims = ["b", "", "n", ""]}, %padding: tensor<?x?xi64> {onnx.dims = ["b", "n"]}) -> !q {
  %from = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %by = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %zero = onnx.initializer {value = dense<0.> : tensor<f32>} : tensor<f32>
  %least = onnx.initializer {value = dense<0xFF7FFFFF> : tensor<f32>} : tensor<f32>
  %row_axes = onnx.initializer {value = dense<[0, 2]> : tensor<2xi64>} : tensor<2xi64>
  %column_axes = onnx.initializer {value = dense<[0, 1]> : tensor<2xi64>} : tensor<2xi64>
  %batch_axes = onnx.initializer {value = dense<[1, 2]> : tensor<2xi64>} : tensor<2xi64>
  %one = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %three = onnx.initializer {value = dense<3> : tensor<1xi64>} : tensor<1xi64>
  %sizes = onnx.Shape %padding : (tensor<?x?xi64>) -> tensor<2xi64>
  %bs = onnx.Shape %padding {start = 0 : i64, end = 1 : i64} : (tensor<?x?xi64>) -> tensor<1xi64>
  %ns = onnx.Shape %padding {start = 1 : i64, end = 2 : i64} : (tensor<?x?xi64>) -> tensor<1xi64>
  %cube = onnx.Concat %bs, %ns, %ns {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %full = onnx.ConstantOfShape %cube {value = dense<0xFF7FFFFF> : tensor<1xf32>} : (tensor<3xi64>) -> !sq
  %causal = onnx.Trilu %full, %by {upper = 1 : i64} : (!sq, tensor<i64>) -> !sq
  %wide = onnx.Unsqueeze %padding, %one : (tensor<?x?xi64>, tensor<1xi64>) -> tensor<?x1x?xi64>
  %real = onnx.Cast %wide {to = 1 : i64} : (tensor<?x1x?xi64>) -> tensor<?x1x?xf32>
  %sum = onnx.Add %causal, %real : (!sq, tensor<?x1x?xf32>) -> !sq
  %hidden = onnx.Equal %sum, %zero : (!sq, tensor<f32>) -> tensor<?x?x?xi1>
  %new = onnx.Where %hidden, %least, %causal : (tensor<?x?x?xi1>, tensor<f32>, !sq) -> !sq
  %b = onnx.Squeeze %bs : (tensor<1xi64>) -> tensor<i64>
  %n = onnx.Squeeze %ns : (tensor<1xi64>) -> tensor<i64>
  %range = onnx.Range %from, %n, %by : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %batches = onnx.Range %from, %b, %by : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %xs = onnx.Unsqueeze %range, %row_axes : (tensor<?xi64>, tensor<2xi64>) -> tensor<1x?x1xi64>
  %ys = onnx.Unsqueeze %range, %column_axes : (tensor<?xi64>, tensor<2xi64>) -> tensor<1x1x?xi64>
  %zs = onnx.Unsqueeze %batches, %batch_axes : (tensor<?xi64>, tensor<2xi64>) -> tensor<?x1x1xi64>
  %x3 = onnx.Expand %xs, %cube : (tensor<1x?x1xi64>, tensor<3xi64>) -> tensor<?x?x?xi64>
  %y3 = onnx.Expand %ys, %cube : (tensor<1x1x?xi64>, tensor<3xi64>) -> tensor<?x?x?xi64>
  %z3 = onnx.Expand %zs, %cube : (tensor<?x1x1xi64>, tensor<3xi64>) -> tensor<?x?x?xi64>
  %x = onnx.Unsqueeze %x3, %three : (tensor<?x?x?xi64>, tensor<1xi64>) -> !i
  %y = onnx.Unsqueeze %y3, %three : (tensor<?x?x?xi64>, tensor<1xi64>) -> !i
  %z = onnx.Unsqueeze %z3, %three : (tensor<?x?x?xi64>, tensor<1xi64>) -> !i
  %places = onnx.Concat %z, %x, %y {axis = -1 : i64} : (!i, !i, !i) -> tensor<?x?x?x3xi64>
  %assigned = onnx.ScatterND %causal, %places, %new : (!sq, tensor<?x?x?x3xi64>, !sq) -> !sq
  %mask = onnx.Unsqueeze %assigned, %one : (!sq, tensor<1xi64>) -> tensor<?x1x?x?xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %mask : (!p, tensor<?x1x?x?xf32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !q) -> !q
  return %o : !q
}

// T5's mask: one minus a triangle times the padding mask, times the least number; what is added to it goes where it masks.
// CHECK-LABEL: @triangle_times_padding
// CHECK: megactx.source {{.*}} pattern(#megactx.pattern<causal>)
func.func @triangle_times_padding(%q: !q {onnx.dims = ["b", "", "n", ""]}, %k: !q {onnx.dims = ["b", "", "n", ""]}, %padding: tensor<?x1x1x?xf32> {onnx.dims = ["b", "", "", "n"]}, %positions: tensor<1x2x?x?xf32> {onnx.dims = ["", "", "n", "n"]}) -> !q {
  %from = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %by = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %one = onnx.initializer {value = dense<1.> : tensor<f32>} : tensor<f32>
  %least = onnx.initializer {value = dense<0xFF7FFFFF> : tensor<f32>} : tensor<f32>
  %down = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %size = onnx.Shape %q {start = 2 : i64, end = 3 : i64} : (!q) -> tensor<1xi64>
  %n = onnx.Squeeze %size : (tensor<1xi64>) -> tensor<i64>
  %range = onnx.Range %from, %n, %by : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %rows = onnx.Unsqueeze %range, %down : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %seen = onnx.LessOrEqual %range, %rows : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %triangle = onnx.Cast %seen {to = 1 : i64} : (tensor<?x?xi1>) -> tensor<?x?xf32>
  %both = onnx.Mul %triangle, %padding : (tensor<?x?xf32>, tensor<?x1x1x?xf32>) -> tensor<?x1x?x?xf32>
  %outside = onnx.Sub %one, %both : (tensor<f32>, tensor<?x1x?x?xf32>) -> tensor<?x1x?x?xf32>
  %mask = onnx.Mul %outside, %least : (tensor<?x1x?x?xf32>, tensor<f32>) -> tensor<?x1x?x?xf32>
  %bias = onnx.Add %positions, %mask : (tensor<1x2x?x?xf32>, tensor<?x1x?x?xf32>) -> !p
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %bias : (!p, !p) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !q) -> !q
  return %o : !q
}

// Everything but a diagonal of every third key.
// CHECK-LABEL: @all_but_a_stride
// CHECK-NOT: pattern<dense>
// CHECK: megactx.source {{.*}} pattern(#megactx.pattern<dense minus strided<stride = 3>>)
func.func @all_but_a_stride(%q: !q {onnx.dims = ["b", "", "n", ""]}, %k: !q {onnx.dims = ["b", "", "n", ""]}) -> !q {
  %from = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %by = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %three = onnx.initializer {value = dense<3> : tensor<i64>} : tensor<i64>
  %none = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %down = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %size = onnx.Shape %q {start = 2 : i64, end = 3 : i64} : (!q) -> tensor<1xi64>
  %n = onnx.Squeeze %size : (tensor<1xi64>) -> tensor<i64>
  %range = onnx.Range %from, %n, %by : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %rows = onnx.Unsqueeze %range, %down : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %apart = onnx.Sub %rows, %range : (tensor<?x1xi64>, tensor<?xi64>) -> tensor<?x?xi64>
  %rest = onnx.Mod %apart, %three : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %same = onnx.Equal %rest, %from : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi1>
  %seen = onnx.Not %same : (tensor<?x?xi1>) -> tensor<?x?xi1>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %w = onnx.Where %seen, %s, %none : (tensor<?x?xi1>, !p, tensor<f32>) -> !p
  %p = onnx.Softmax %w {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !q) -> !q
  return %o : !q
}

// As many rows as an image has places: a product of sizes, of which no set knows, leaves what is known of the rows.
// CHECK-LABEL: @rows_of_an_image
// CHECK: megactx.source %{{[^ ]+}}, %{{[^ ]+}} pattern(#megactx.pattern<dense>)
func.func @rows_of_an_image(%image: tensor<?x2x?x?x8xf32>) -> !q {
  %from = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %by = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %down = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %zero = onnx.initializer {value = dense<0.> : tensor<f32>} : tensor<f32>
  %least = onnx.initializer {value = dense<0xFF7FFFFF> : tensor<f32>} : tensor<f32>
  %flat = onnx.initializer {value = dense<[0, 0, -1, 8]> : tensor<4xi64>} : tensor<4xi64>
  %q = onnx.Reshape %image, %flat : (tensor<?x2x?x?x8xf32>, tensor<4xi64>) -> !q
  %height = onnx.Shape %image {start = 2 : i64, end = 3 : i64} : (tensor<?x2x?x?x8xf32>) -> tensor<1xi64>
  %width = onnx.Shape %image {start = 3 : i64, end = 4 : i64} : (tensor<?x2x?x?x8xf32>) -> tensor<1xi64>
  %size = onnx.Mul %height, %width : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %n = onnx.Squeeze %size : (tensor<1xi64>) -> tensor<i64>
  %range = onnx.Range %from, %n, %by : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %rows = onnx.Unsqueeze %range, %down : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %seen = onnx.GreaterOrEqual %rows, %from : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi1>
  %mask = onnx.Where %seen, %zero, %least : (tensor<?x1xi1>, tensor<f32>, tensor<f32>) -> tensor<?x1xf32>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Add %s, %mask : (!p, tensor<?x1xf32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %q : (!p, !q) -> !q
  return %o : !q
}

// GPT's and early GPT-2's: scores times a table of ones and zeros, and a number where it is 0.
// CHECK-LABEL: @times_table_less_number(
// CHECK: megactx.source {{.*}} pattern(#megactx.pattern<causal>)
// CHECK-LABEL: @times_mask_of_a_run(
// CHECK-NOT: megactx.attention
!tq = tensor<1x2x3x8xf32>
!tk = tensor<1x2x8x3xf32>
!ts = tensor<1x2x3x3xf32>
!tm = tensor<1x1x3x3xf32>
func.func @times_table_less_number(%q: !tq, %kt: !tk, %v: !tq) -> !tq {
  %m = onnx.initializer {value = dense<[[[[1., 0., 0.], [1., 1., 0.], [1., 1., 1.]]]]> : !tm} : !tm
  %1 = onnx.initializer {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %c = onnx.initializer {value = dense<1.0e4> : tensor<f32>} : tensor<f32>
  %s = onnx.MatMul %q, %kt : (!tq, !tk) -> !ts
  %a = onnx.Mul %s, %m : (!ts, !tm) -> !ts
  %r = onnx.Sub %1, %m : (tensor<f32>, !tm) -> !tm
  %b = onnx.Mul %c, %r : (tensor<f32>, !tm) -> !tm
  %x = onnx.Sub %a, %b : (!ts, !tm) -> !ts
  %p = onnx.Softmax %x {axis = -1 : i64} : (!ts) -> !ts
  %o = onnx.MatMul %p, %v : (!ts, !tq) -> !tq
  return %o : !tq
}
func.func @times_mask_of_a_run(%q: !tq, %kt: !tk, %v: !tq, %m: !tm) -> !tq {
  %1 = onnx.initializer {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %c = onnx.initializer {value = dense<-1.0e4> : tensor<f32>} : tensor<f32>
  %s = onnx.MatMul %q, %kt : (!tq, !tk) -> !ts
  %a = onnx.Mul %m, %s : (!tm, !ts) -> !ts
  %r = onnx.Sub %1, %m : (tensor<f32>, !tm) -> !tm
  %b = onnx.Mul %r, %c : (!tm, tensor<f32>) -> !tm
  %x = onnx.Add %a, %b : (!ts, !tm) -> !ts
  %p = onnx.Softmax %x {axis = -1 : i64} : (!ts) -> !ts
  %o = onnx.MatMul %p, %v : (!ts, !tq) -> !tq
  return %o : !tq
}

// The blocks of rows and of keys, their own and those next to it.
!blocks = tensor<?x?xi64>
// CHECK-LABEL: @blocks_beside_their_own
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<block_local<block = 4, left = 2, right = 1>>)
func.func @blocks_beside_their_own(%q: !q {onnx.dims = ["b", "", "n", ""]}, %v: !q) -> !q {
  %none = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %0 = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %1 = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %2 = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %4 = onnx.initializer {value = dense<4> : tensor<i64>} : tensor<i64>
  %before = onnx.initializer {value = dense<-2> : tensor<i64>} : tensor<i64>
  %last = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %shape = onnx.Shape %q : (!q) -> tensor<4xi64>
  %n = onnx.Gather %shape, %2 {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %range = onnx.Range %0, %n, %1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %block = onnx.Div %range, %4 : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %rows = onnx.Unsqueeze %block, %last : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %ahead = onnx.Sub %block, %rows : (tensor<?xi64>, tensor<?x1xi64>) -> !blocks
  %near = onnx.GreaterOrEqual %ahead, %before : (!blocks, tensor<i64>) -> tensor<?x?xi1>
  %soon = onnx.LessOrEqual %ahead, %1 : (!blocks, tensor<i64>) -> tensor<?x?xi1>
  %seen = onnx.And %near, %soon : (tensor<?x?xi1>, tensor<?x?xi1>) -> tensor<?x?xi1>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Where %seen, %s, %none : (tensor<?x?xi1>, !p, tensor<f32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// All blocks before, too.
// CHECK-LABEL: @causal_blocks
// CHECK: megactx.source %{{.*}}, %{{[^ ]*}} pattern(#megactx.pattern<block_local<block = 4, left = -1>>)
func.func @causal_blocks(%q: !q {onnx.dims = ["b", "", "n", ""]}, %v: !q) -> !q {
  %none = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %0 = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %1 = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %2 = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %4 = onnx.initializer {value = dense<4> : tensor<i64>} : tensor<i64>
  %last = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %shape = onnx.Shape %q : (!q) -> tensor<4xi64>
  %n = onnx.Gather %shape, %2 {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %range = onnx.Range %0, %n, %1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %block = onnx.Div %range, %4 : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %rows = onnx.Unsqueeze %block, %last : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %seen = onnx.LessOrEqual %block, %rows : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %t = onnx.Where %seen, %s, %none : (tensor<?x?xi1>, !p, tensor<f32>) -> !p
  %p = onnx.Softmax %t {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}
