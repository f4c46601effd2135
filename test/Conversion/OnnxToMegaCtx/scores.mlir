// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s

!q = tensor<?x2x?x8xf32>
!kt = tensor<?x2x8x?xf32>
!p = tensor<?x2x?x?xf32>
!folded = tensor<?x?x8xf32>
!sizes = tensor<4xi64>

// tanh(x / 2 / 30) * 30 = 30 * tanh((x / 2) / 30).
// CHECK-LABEL: @softcap
// CHECK: megactx.attention {{.*}} {scale = 5.000000e-01 : f32, softcap = 3.000000e+01 : f32}
func.func @softcap(%q: !q, %k: !q, %v: !q) -> !q {
  %half = onnx.initializer {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %cap = onnx.initializer {value = dense<30.0> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %a = onnx.Mul %s, %half : (!p, tensor<f32>) -> !p
  %b = onnx.Div %a, %cap : (!p, tensor<f32>) -> !p
  %c = onnx.Tanh %b : (!p) -> !p
  %d = onnx.Mul %c, %cap : (!p, tensor<f32>) -> !p
  %p = onnx.Softmax %d {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A mask below Tanh would be capped.
// CHECK-LABEL: @capped_mask
// CHECK: onnx.Softmax
func.func @capped_mask(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x1x?xf32>) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %a = onnx.Add %s, %m : (!p, tensor<?x1x1x?xf32>) -> !p
  %c = onnx.Tanh %a : (!p) -> !p
  %p = onnx.Softmax %c {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A cosine attention's scale per head scales the queries.
// CHECK-LABEL: @scale_per_head
// CHECK: %[[Q:.+]] = onnx.Mul %arg0, %arg3
// CHECK: megactx.attention %[[Q]]
func.func @scale_per_head(%q: !q, %k: !q, %v: !q, %scale: tensor<2x1x1xf32>) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %a = onnx.Mul %s, %scale : (!p, tensor<2x1x1xf32>) -> !p
  %p = onnx.Softmax %a {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A scale above a mask scales the mask too, GPT-J's form; scores that are kept above a number that masks, OPT's.
// CHECK-LABEL: @scale_above_a_mask
// CHECK: %[[SCALED:.+]] = onnx.Mul %arg3, %{{.+}} : (tensor<?x1x1x?xf32>, tensor<f32>)
// CHECK: %[[FLOOR:.+]] = onnx.initializer {value = dense<-1.000000e+20> : tensor<f32>}
// CHECK: %[[BIAS:.+]] = onnx.Max %[[SCALED]], %[[FLOOR]]
// CHECK: megactx.source {{.*}} bias(%[[BIAS]])
// CHECK: megactx.attention {{.*}} {scale = 5.000000e-01 : f32}
func.func @scale_above_a_mask(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x1x?xf32>) -> !q {
  %half = onnx.initializer {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %least = onnx.initializer {value = dense<0xFF7FFFFF> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %a = onnx.Add %s, %m : (!p, tensor<?x1x1x?xf32>) -> !p
  %t = onnx.Mul %a, %half : (!p, tensor<f32>) -> !p
  %u = onnx.Max %t, %least : (!p, tensor<f32>) -> !p
  %p = onnx.Softmax %u {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// Scores show in a number of their order: max(s + m, -1e4) is s + m in no row that m hides.
// CHECK-LABEL: @a_floor_that_scores_change
// CHECK: onnx.Softmax
func.func @a_floor_that_scores_change(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x1x?xf32>) -> !q {
  %least = onnx.initializer {value = dense<-1.0e+04> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %a = onnx.Add %s, %m : (!p, tensor<?x1x1x?xf32>) -> !p
  %u = onnx.Max %a, %least : (!p, tensor<f32>) -> !p
  %p = onnx.Softmax %u {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A factor per key is no scale of queries.
// CHECK-LABEL: @scale_per_key
// CHECK: onnx.Softmax
func.func @scale_per_key(%q: !q, %k: !q, %v: !q, %scale: tensor<?x1x1x?xf32>) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %a = onnx.Mul %s, %scale : (!p, tensor<?x1x1x?xf32>) -> !p
  %p = onnx.Softmax %a {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A softmax of half precision in f32.
!h = tensor<?x2x?x8xf16>
// CHECK-LABEL: @softmax_in_f32
// CHECK: megactx.attention {{.*}} : (tensor<?x2x?x8xf16>
// CHECK-NOT: onnx.Softmax
func.func @softmax_in_f32(%q: !h, %k: !h, %v: !h) -> !h {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!h) -> tensor<?x2x8x?xf16>
  %s = onnx.MatMul %q, %kt : (!h, tensor<?x2x8x?xf16>) -> tensor<?x2x?x?xf16>
  %w = onnx.Cast %s {to = 1 : i64} : (tensor<?x2x?x?xf16>) -> !p
  %p = onnx.Softmax %w {axis = -1 : i64} : (!p) -> !p
  %n = onnx.Cast %p {to = 10 : i64} : (!p) -> tensor<?x2x?x?xf16>
  %o = onnx.MatMul %n, %v : (tensor<?x2x?x?xf16>, !h) -> !h
  return %o : !h
}

// Weights in f32, by a mask in f32, which values in half precision are widened for: so are queries and keys.
// CHECK-LABEL: @softmax_and_values_in_f32
// CHECK-DAG: %[[Q:.+]] = onnx.Cast %arg0 : (tensor<?x2x?x8xf16>) -> tensor<?x2x?x8xf32>
// CHECK-DAG: %[[K:.+]] = onnx.Cast %arg1 : (tensor<?x2x?x8xf16>) -> tensor<?x2x?x8xf32>
// CHECK: megactx.source %[[K]]
// CHECK: megactx.attention %[[Q]]
// CHECK-NOT: onnx.Softmax
func.func @softmax_and_values_in_f32(%q: !h, %k: !h, %v: !h, %m: tensor<?x1x1x?xf32>) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!h) -> tensor<?x2x8x?xf16>
  %s = onnx.MatMul %q, %kt : (!h, tensor<?x2x8x?xf16>) -> tensor<?x2x?x?xf16>
  %w = onnx.Cast %s {to = 1 : i64} : (tensor<?x2x?x?xf16>) -> !p
  %a = onnx.Add %w, %m : (!p, tensor<?x1x1x?xf32>) -> !p
  %p = onnx.Softmax %a {axis = -1 : i64} : (!p) -> !p
  %x = onnx.Cast %v {to = 1 : i64} : (!h) -> !q
  %o = onnx.MatMul %p, %x : (!p, !q) -> !q
  return %o : !q
}

// Queries and keys that were widened for their product alone: the result has the type of the product with values.
// CHECK-LABEL: @scores_in_f32
// CHECK: %[[V:.+]] = onnx.Cast %arg2 : (tensor<?x2x?x8xf16>) -> tensor<?x2x?x8xf32>
// CHECK: megactx.source %arg1, %[[V]]
// CHECK: %[[OUT:.+]] = megactx.attention %arg0
// CHECK: %[[HALF:.+]] = onnx.Cast %[[OUT]] : (tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf16>
// CHECK: return %[[HALF]]
func.func @scores_in_f32(%q: !q, %k: !q, %v: !h) -> !h {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %n = onnx.Cast %p {to = 10 : i64} : (!p) -> tensor<?x2x?x?xf16>
  %o = onnx.MatMul %n, %v : (tensor<?x2x?x?xf16>, !h) -> !h
  return %o : !h
}

// Heads folded into the batch for the products alone: a bias of the folded form, then a mask of the other.
// CHECK-LABEL: @reshaped_scores
// CHECK-DAG: tensor.extract %arg3
// CHECK-DAG: tensor.extract %arg4
// CHECK: megactx.source {{.*}} pattern(#megactx.pattern<dense>)
// CHECK: %[[OUT:.+]] = megactx.attention
// CHECK: tensor.collapse_shape %[[OUT]] {{\[\[}}0, 1], [2], [3]]
// CHECK-NOT: onnx.Softmax
func.func @reshaped_scores(%q: tensor<3x2x5x8xf32>, %k: tensor<3x2x5x8xf32>, %v: tensor<3x2x5x8xf32>, %slopes: tensor<6x1x5xf32>, %m: tensor<3x1x5x5xf32>) -> tensor<6x5x8xf32> {
  %three = onnx.initializer {value = dense<[6, 5, 8]> : tensor<3xi64>} : tensor<3xi64>
  %four = onnx.initializer {value = dense<[3, 2, 5, 5]> : !sizes} : !sizes
  %back = onnx.initializer {value = dense<[6, 5, 5]> : tensor<3xi64>} : tensor<3xi64>
  %fq = onnx.Reshape %q, %three : (tensor<3x2x5x8xf32>, tensor<3xi64>) -> tensor<6x5x8xf32>
  %fk = onnx.Reshape %k, %three : (tensor<3x2x5x8xf32>, tensor<3xi64>) -> tensor<6x5x8xf32>
  %fv = onnx.Reshape %v, %three : (tensor<3x2x5x8xf32>, tensor<3xi64>) -> tensor<6x5x8xf32>
  %kt = onnx.Transpose %fk {perm = array<i64: 0, 2, 1>} : (tensor<6x5x8xf32>) -> tensor<6x8x5xf32>
  %s = onnx.MatMul %fq, %kt : (tensor<6x5x8xf32>, tensor<6x8x5xf32>) -> tensor<6x5x5xf32>
  %a = onnx.Add %slopes, %s : (tensor<6x1x5xf32>, tensor<6x5x5xf32>) -> tensor<6x5x5xf32>
  %w = onnx.Reshape %a, %four : (tensor<6x5x5xf32>, !sizes) -> tensor<3x2x5x5xf32>
  %b = onnx.Add %w, %m : (tensor<3x2x5x5xf32>, tensor<3x1x5x5xf32>) -> tensor<3x2x5x5xf32>
  %p = onnx.Softmax %b {axis = -1 : i64} : (tensor<3x2x5x5xf32>) -> tensor<3x2x5x5xf32>
  %f = onnx.Reshape %p, %back : (tensor<3x2x5x5xf32>, tensor<3xi64>) -> tensor<6x5x5xf32>
  %o = onnx.MatMul %f, %fv : (tensor<6x5x5xf32>, tensor<6x5x8xf32>) -> tensor<6x5x8xf32>
  return %o : tensor<6x5x8xf32>
}

// Folded for scores alone, GPT-NeoX's form.
// CHECK-LABEL: @folded_scores
// CHECK: %[[OUT:.+]] = megactx.attention
// CHECK-NEXT: return %[[OUT]]
func.func @folded_scores(%q: tensor<3x2x5x8xf32>, %k: tensor<3x2x5x8xf32>, %v: tensor<3x2x5x8xf32>) -> tensor<3x2x5x8xf32> {
  %three = onnx.initializer {value = dense<[6, 5, 8]> : tensor<3xi64>} : tensor<3xi64>
  %four = onnx.initializer {value = dense<[3, 2, 5, 5]> : !sizes} : !sizes
  %fq = onnx.Reshape %q, %three : (tensor<3x2x5x8xf32>, tensor<3xi64>) -> tensor<6x5x8xf32>
  %fk = onnx.Reshape %k, %three : (tensor<3x2x5x8xf32>, tensor<3xi64>) -> tensor<6x5x8xf32>
  %kt = onnx.Transpose %fk {perm = array<i64: 0, 2, 1>} : (tensor<6x5x8xf32>) -> tensor<6x8x5xf32>
  %s = onnx.MatMul %fq, %kt : (tensor<6x5x8xf32>, tensor<6x8x5xf32>) -> tensor<6x5x5xf32>
  %w = onnx.Reshape %s, %four : (tensor<6x5x5xf32>, !sizes) -> tensor<3x2x5x5xf32>
  %p = onnx.Softmax %w {axis = -1 : i64} : (tensor<3x2x5x5xf32>) -> tensor<3x2x5x5xf32>
  %o = onnx.MatMul %p, %v : (tensor<3x2x5x5xf32>, tensor<3x2x5x8xf32>) -> tensor<3x2x5x8xf32>
  return %o : tensor<3x2x5x8xf32>
}

// Reshaped so that the softmax is over something else than keys.
// CHECK-LABEL: @reshaped_keys
// CHECK: onnx.Softmax
func.func @reshaped_keys(%q: tensor<3x2x6x8xf32>, %kt: tensor<3x2x8x6xf32>, %v: tensor<3x2x6x8xf32>) -> tensor<3x2x6x8xf32> {
  %split = onnx.initializer {value = dense<[3, 2, 18, 2]> : !sizes} : !sizes
  %back = onnx.initializer {value = dense<[3, 2, 6, 6]> : !sizes} : !sizes
  %s = onnx.MatMul %q, %kt : (tensor<3x2x6x8xf32>, tensor<3x2x8x6xf32>) -> tensor<3x2x6x6xf32>
  %w = onnx.Reshape %s, %split : (tensor<3x2x6x6xf32>, !sizes) -> tensor<3x2x18x2xf32>
  %p = onnx.Softmax %w {axis = -1 : i64} : (tensor<3x2x18x2xf32>) -> tensor<3x2x18x2xf32>
  %f = onnx.Reshape %p, %back : (tensor<3x2x18x2xf32>, !sizes) -> tensor<3x2x6x6xf32>
  %o = onnx.MatMul %f, %v : (tensor<3x2x6x6xf32>, tensor<3x2x6x8xf32>) -> tensor<3x2x6x8xf32>
  return %o : tensor<3x2x6x8xf32>
}

// Rows that a finite number hides altogether keep weights: it stays above what stands for no key in kernels.
// CHECK-LABEL: @hidden_by_the_least_number
// CHECK: onnx.initializer {value = dense<-1.000000e+20> : tensor<f32>}
// CHECK-NOT: 0xFF800000
// CHECK: megactx.attention
// CHECK-LABEL: @hidden_again
// CHECK: %[[NONE:.+]] = onnx.initializer {value = dense<0xFF800000> : tensor<f32>}
// CHECK: %[[BIAS:.+]] = onnx.Where %arg3, %[[NONE]], %{{.+}} : (tensor<?x1x1x?xi1>
// CHECK: megactx.source %{{.+}}, %{{.+}} bias(%[[BIAS]])
// CHECK: megactx.attention
// CHECK-NOT: onnx.Where
func.func @hidden_by_the_least_number(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x?x?xi1>) -> !q {
  %least = onnx.initializer {value = dense<0xFF7FFFFF> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %w = onnx.Where %m, %least, %s : (tensor<?x1x?x?xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %w {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}
// Where their probabilities are hidden too they have none.
func.func @hidden_again(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x1x?xi1>) -> !q {
  %least = onnx.initializer {value = dense<0xFF7FFFFF> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %w = onnx.Where %m, %least, %s : (tensor<?x1x1x?xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %w {axis = -1 : i64} : (!p) -> !p
  %z = onnx.Where %m, %zero, %p : (tensor<?x1x1x?xi1>, tensor<f32>, !p) -> !p
  %o = onnx.MatMul %z, %v : (!p, !q) -> !q
  return %o : !q
}

// Who asks for the sizes of probabilities takes none of them; a mask's sizes may have other names than the scores' (DeBERTa).
// CHECK-LABEL: @sizes_of_probabilities_asked
// CHECK-NOT: onnx.Softmax
// CHECK: megactx.attention
func.func @sizes_of_probabilities_asked(%q: !folded, %k: !folded, %v: !folded, %m: tensor<?x1x1x?xi1>) -> !folded {
  %least = onnx.initializer {value = dense<0xFF7FFFFF> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %first = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %second = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %end = onnx.initializer {value = dense<9223372036854775807> : tensor<1xi64>} : tensor<1xi64>
  %back = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %before = onnx.initializer {value = dense<-2> : tensor<1xi64>} : tensor<1xi64>
  %two = onnx.initializer {value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 2, 1>} : (!folded) -> tensor<?x8x?xf32>
  %s = onnx.MatMul %q, %kt : (!folded, tensor<?x8x?xf32>) -> tensor<?x?x?xf32>
  %sizes = onnx.Shape %s : (tensor<?x?x?xf32>) -> tensor<3xi64>
  %last = onnx.Slice %sizes, %second, %end, %first : (tensor<3xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %unfolded = onnx.Concat %back, %two, %last {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<2xi64>) -> !sizes
  %s4 = onnx.Reshape %s, %unfolded : (tensor<?x?x?xf32>, !sizes) -> !p
  %w = onnx.Where %m, %least, %s4 : (tensor<?x1x1x?xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %w {axis = -1 : i64} : (!p) -> !p
  %z = onnx.Where %m, %zero, %p : (tensor<?x1x1x?xi1>, tensor<f32>, !p) -> !p
  %asked = onnx.Shape %z : (!p) -> !sizes
  %rows = onnx.Slice %asked, %before, %end, %first : (!sizes, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %folded = onnx.Concat %back, %rows {axis = 0 : i64} : (tensor<1xi64>, tensor<2xi64>) -> tensor<3xi64>
  %z3 = onnx.Reshape %z, %folded : (!p, tensor<3xi64>) -> tensor<?x?x?xf32>
  %o = onnx.MatMul %z3, %v : (tensor<?x?x?xf32>, !folded) -> !folded
  return %o : !folded
}

// What another finite mask hides in a row shares its weights with what is hidden again; a bias of products does not.
// CHECK-LABEL: @hidden_again_beside_a_mask
// CHECK: onnx.Softmax
// CHECK-LABEL: @hidden_again_beside_a_bias
// CHECK: megactx.attention
func.func @hidden_again_beside_a_mask(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x1x?xi1>, %bias: !p) -> !q {
  %least = onnx.initializer {value = dense<0xFF7FFFFF> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %a = onnx.Add %s, %bias : (!p, !p) -> !p
  %w = onnx.Where %m, %least, %a : (tensor<?x1x1x?xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %w {axis = -1 : i64} : (!p) -> !p
  %z = onnx.Where %m, %zero, %p : (tensor<?x1x1x?xi1>, tensor<f32>, !p) -> !p
  %o = onnx.MatMul %z, %v : (!p, !q) -> !q
  return %o : !q
}
func.func @hidden_again_beside_a_bias(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x1x?xi1>, %r: !kt) -> !q {
  %least = onnx.initializer {value = dense<0xFF7FFFFF> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %bias = onnx.MatMul %q, %r : (!q, !kt) -> !p
  %a = onnx.Add %s, %bias : (!p, !p) -> !p
  %w = onnx.Where %m, %least, %a : (tensor<?x1x1x?xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %w {axis = -1 : i64} : (!p) -> !p
  %z = onnx.Where %m, %zero, %p : (tensor<?x1x1x?xi1>, tensor<f32>, !p) -> !p
  %o = onnx.MatMul %z, %v : (!p, !q) -> !q
  return %o : !q
}

// Keys and values of a cache alone are another sequence's.
// CHECK-LABEL: @cached_memory
// CHECK: megactx.attention {{.*}}kind = "cross"
func.func @cached_memory(%x: tensor<?x?x16xf32>, %k: !q, %v: !q) -> !q {
  %w = onnx.initializer {value = dense<0.5> : tensor<16x16xf32>} : tensor<16x16xf32>
  %sizes = onnx.initializer {value = dense<[0, -1, 2, 8]> : !sizes} : !sizes
  %y = onnx.MatMul %x, %w : (tensor<?x?x16xf32>, tensor<16x16xf32>) -> tensor<?x?x16xf32>
  %r = onnx.Reshape %y, %sizes : (tensor<?x?x16xf32>, !sizes) -> tensor<?x?x2x8xf32>
  %q = onnx.Transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x8xf32>) -> !q
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A number that does not mask is put in the scores' place, not added to them.
// CHECK-LABEL: @replaced_by_a_number
// CHECK: onnx.Softmax
func.func @replaced_by_a_number(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x?x?xi1>) -> !q {
  %five = onnx.initializer {value = dense<-5.0> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %w = onnx.Where %m, %five, %s : (tensor<?x1x?x?xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %w {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// A finite number in the place of scores, whatever scales it: these do not count beside it.
// CHECK-LABEL: @scaled_replacement
// CHECK: %[[FILL:.+]] = onnx.initializer {value = dense<-1.000000e+20> : tensor<f32>}
// CHECK: onnx.Where %arg3, %[[FILL]]
// CHECK: megactx.attention {{.*}} {scale = 5.000000e-01 : f32}
func.func @scaled_replacement(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x?x?xi1>) -> !q {
  %many = onnx.initializer {value = dense<-1.0e4> : tensor<f32>} : tensor<f32>
  %half = onnx.initializer {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %w = onnx.Where %m, %many, %s : (tensor<?x1x?x?xi1>, tensor<f32>, !p) -> !p
  %x = onnx.Mul %w, %half : (!p, tensor<f32>) -> !p
  %p = onnx.Softmax %x {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// What takes the place of NaNs is no guard where it is not 0.
// CHECK-LABEL: @ones_for_nans
// CHECK: onnx.Softmax
func.func @ones_for_nans(%q: !q, %k: !q, %v: !q) -> !q {
  %one = onnx.initializer {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %nan = onnx.IsNaN %p : (!p) -> tensor<?x2x?x?xi1>
  %g = onnx.Where %nan, %one, %p : (tensor<?x2x?x?xi1>, tensor<f32>, !p) -> !p
  %o = onnx.MatMul %g, %v : (!p, !q) -> !q
  return %o : !q
}

// As many rows in all, but of other heads in other batches: no heads that keys share.
// CHECK-LABEL: @other_heads_of_other_batches
// CHECK: onnx.Softmax
func.func @other_heads_of_other_batches(%q: tensor<?x4x5x8xf32>, %k: tensor<?x2x5x8xf32>, %v: tensor<?x2x5x8xf32>) -> !folded {
  %fold = onnx.initializer {value = dense<[-1, 5, 8]> : tensor<3xi64>} : tensor<3xi64>
  %fq = onnx.Reshape %q, %fold : (tensor<?x4x5x8xf32>, tensor<3xi64>) -> !folded
  %fk = onnx.Reshape %k, %fold : (tensor<?x2x5x8xf32>, tensor<3xi64>) -> !folded
  %fv = onnx.Reshape %v, %fold : (tensor<?x2x5x8xf32>, tensor<3xi64>) -> !folded
  %kt = onnx.Transpose %fk {perm = array<i64: 0, 2, 1>} : (!folded) -> tensor<?x8x5xf32>
  %s = onnx.MatMul %fq, %kt : (!folded, tensor<?x8x5xf32>) -> tensor<?x5x5xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x5x5xf32>) -> tensor<?x5x5xf32>
  %o = onnx.MatMul %p, %fv : (tensor<?x5x5xf32>, !folded) -> !folded
  return %o : !folded
}

// One more score per row, whose probability has no value: it takes from the others what their sum says of it. GPT-OSS subtracts the greatest
// score of a row before.
// CHECK-LABEL: @sink
// CHECK: %[[OUT:.+]], %[[LSE:.+]] = megactx.attention {{.*}} -> (tensor<?x2x?x8xf32>, tensor<?x2x?xf32>)
// CHECK: %[[ROWS:.+]] = onnx.Unsqueeze %[[LSE]]
// CHECK: %[[LESS:.+]] = onnx.Sub %[[ROWS]], %arg3
// CHECK: %[[SHARE:.+]] = onnx.Sigmoid %[[LESS]]
// CHECK: onnx.Mul %[[OUT]], %[[SHARE]]
!sink = tensor<?x2x?x1xf32>
!more = tensor<?x2x?x?xf32>
func.func @sink(%q: !q, %k: !q, %v: !q, %sink: !sink) -> !q {
  %0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %last = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %x = onnx.Concat %s, %sink {axis = -1 : i64} : (!p, !sink) -> !more
  %m = onnx.ReduceMax %x, %last {keepdims = 1 : i64} : (!more, tensor<1xi64>) -> !sink
  %d = onnx.Sub %x, %m : (!more, !sink) -> !more
  %p = onnx.Softmax %d {axis = -1 : i64} : (!more) -> !more
  %c = onnx.Slice %p, %0, %last, %last, %1 : (!more, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !p
  %o = onnx.MatMul %c, %v : (!p, !q) -> !q
  return %o : !q
}

// CHECK-LABEL: @sink_before_the_keys
// CHECK: megactx.attention {{.*}} -> (tensor<?x2x?x8xf32>, tensor<?x2x?xf32>)
func.func @sink_before_the_keys(%q: !q, %k: !q, %v: !q, %sink: !sink) -> !q {
  %1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %end = onnx.initializer {value = dense<9223372036854775807> : tensor<1xi64>} : tensor<1xi64>
  %axis = onnx.initializer {value = dense<3> : tensor<1xi64>} : tensor<1xi64>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %x = onnx.Concat %sink, %s {axis = 3 : i64} : (!sink, !p) -> !more
  %p = onnx.Softmax %x {axis = -1 : i64} : (!more) -> !more
  %c = onnx.Slice %p, %1, %end, %axis, %1 : (!more, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !p
  %o = onnx.MatMul %c, %v : (!p, !q) -> !q
  return %o : !q
}

// The key is cut off that is last, not the sink; two keys more.
// CHECK-LABEL: @sink_that_stays
// CHECK: onnx.Softmax
// CHECK-LABEL: @two_sinks
// CHECK: onnx.Softmax
func.func @sink_that_stays(%q: !q, %k: !q, %v: !q, %sink: !sink) -> !q {
  %0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %last = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %x = onnx.Concat %sink, %s {axis = 3 : i64} : (!sink, !p) -> !more
  %p = onnx.Softmax %x {axis = -1 : i64} : (!more) -> !more
  %c = onnx.Slice %p, %0, %last, %last, %1 : (!more, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !p
  %o = onnx.MatMul %c, %v : (!p, !q) -> !q
  return %o : !q
}
func.func @two_sinks(%q: !q, %k: !q, %v: !q, %sinks: tensor<?x2x?x2xf32>) -> !q {
  %0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %last = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %x = onnx.Concat %s, %sinks {axis = 3 : i64} : (!p, tensor<?x2x?x2xf32>) -> !more
  %p = onnx.Softmax %x {axis = -1 : i64} : (!more) -> !more
  %c = onnx.Slice %p, %0, %last, %last, %1 : (!more, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !p
  %o = onnx.MatMul %c, %v : (!p, !q) -> !q
  return %o : !q
}

// Scores less a term, XLNet's mask: its negative is added.
// CHECK-LABEL: @mask_subtracted
// CHECK: onnx.Neg %arg3
// CHECK: megactx.source {{.*}} bias(%{{.+}})
func.func @mask_subtracted(%q: !q, %k: !q, %v: !q, %m: tensor<?x1x1x?xf32>) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %x = onnx.Sub %s, %m : (!p, tensor<?x1x1x?xf32>) -> !p
  %p = onnx.Softmax %x {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// Scores that are taken from something are no scores of the same keys.
// CHECK-LABEL: @scores_subtracted
// CHECK: onnx.Softmax
func.func @scores_subtracted(%q: !q, %k: !q, %v: !q, %m: !p) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %x = onnx.Sub %m, %s : (!p, !p) -> !p
  %p = onnx.Softmax %x {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}

// Heads of windows, Hiera's mask units: the dims before the last of them are one batch, also for a mask.
// CHECK-LABEL: @windows_of_heads
// CHECK: %[[Q:.+]] = tensor.collapse_shape %arg0 {{\[\[}}0, 1], [2], [3], [4]] : tensor<?x3x4x?x8xf32> into tensor<?x4x?x8xf32>
// CHECK: %[[K:.+]] = tensor.collapse_shape %arg1
// CHECK: %[[THREE:.+]] = arith.constant 3
// CHECK: arith.divsi %{{.+}}, %[[THREE]]
// CHECK: tensor.extract %arg3
// CHECK: megactx.source %[[K]], {{.*}} bias
// CHECK: %[[OUT:.+]] = megactx.attention %[[Q]]
// CHECK: tensor.expand_shape %[[OUT]] {{\[\[}}0, 1], [2], [3], [4]] output_shape [%{{.+}}, 3, 4, %{{.+}}, 5]
// CHECK-NOT: onnx.Softmax
!five = tensor<?x3x4x?x8xf32>
func.func @windows_of_heads(%q: !five {onnx.dims = ["b", "", "", "n", ""]}, %k: !five {onnx.dims = ["b", "", "", "m", ""]},
                            %v: tensor<?x3x4x?x5xf32> {onnx.dims = ["b", "", "", "m", ""]}, %m: tensor<?x1x1x1x?xf32>) -> tensor<?x3x4x?x5xf32> {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 2, 4, 3>} : (!five) -> tensor<?x3x4x8x?xf32>
  %s = onnx.MatMul %q, %kt : (!five, tensor<?x3x4x8x?xf32>) -> tensor<?x3x4x?x?xf32>
  %x = onnx.Add %s, %m : (tensor<?x3x4x?x?xf32>, tensor<?x1x1x1x?xf32>) -> tensor<?x3x4x?x?xf32>
  %p = onnx.Softmax %x {axis = -1 : i64} : (tensor<?x3x4x?x?xf32>) -> tensor<?x3x4x?x?xf32>
  %o = onnx.MatMul %p, %v : (tensor<?x3x4x?x?xf32>, tensor<?x3x4x?x5xf32>) -> tensor<?x3x4x?x5xf32>
  return %o : tensor<?x3x4x?x5xf32>
}

// One window: the heads are heads.
// CHECK-LABEL: @heads_of_one_window
// CHECK: %[[Q:.+]] = tensor.collapse_shape %arg0 {{\[\[}}0], [1, 2], [3], [4]] : tensor<?x3x1x?x8xf32> into tensor<?x3x?x8xf32>
// CHECK: %[[OUT:.+]] = megactx.attention %[[Q]]
// CHECK: tensor.expand_shape %[[OUT]] {{\[\[}}0], [1, 2], [3], [4]]
!window = tensor<?x3x1x?x8xf32>
func.func @heads_of_one_window(%q: !window {onnx.dims = ["b", "", "", "n", ""]}, %k: !window {onnx.dims = ["b", "", "", "m", ""]}) -> !window {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 2, 4, 3>} : (!window) -> tensor<?x3x1x8x?xf32>
  %s = onnx.MatMul %q, %kt : (!window, tensor<?x3x1x8x?xf32>) -> tensor<?x3x1x?x?xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x3x1x?x?xf32>) -> tensor<?x3x1x?x?xf32>
  %o = onnx.MatMul %p, %k : (tensor<?x3x1x?x?xf32>, !window) -> !window
  return %o : !window
}

// Keys that all windows share are no batch of as many.
// CHECK-LABEL: @keys_of_all_windows
// CHECK: onnx.Softmax
func.func @keys_of_all_windows(%q: !five {onnx.dims = ["b", "", "", "n", ""]}, %kt: tensor<?x3x1x8x?xf32> {onnx.dims = ["b", "", "", "", "m"]},
                               %v: tensor<?x3x1x?x5xf32> {onnx.dims = ["b", "", "", "m", ""]}) -> tensor<?x3x4x?x5xf32> {
  %s = onnx.MatMul %q, %kt : (!five, tensor<?x3x1x8x?xf32>) -> tensor<?x3x4x?x?xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x3x4x?x?xf32>) -> tensor<?x3x4x?x?xf32>
  %o = onnx.MatMul %p, %v : (tensor<?x3x4x?x?xf32>, tensor<?x3x1x?x5xf32>) -> tensor<?x3x4x?x5xf32>
  return %o : tensor<?x3x4x?x5xf32>
}

// Probabilities of several values, DiffLlama's: each product is an attention.
// CHECK-LABEL: @several_values
// CHECK: megactx.source %arg1, %arg2
// CHECK: %[[FIRST:.+]] = megactx.attention %arg0
// CHECK: megactx.source %arg1, %arg3
// CHECK: %[[SECOND:.+]] = megactx.attention %arg0
// CHECK: onnx.Sub %[[FIRST]], %[[SECOND]]
// CHECK-NOT: onnx.Softmax
func.func @several_values(%q: !q, %k: !q, %v: !q, %w: !q) -> !q {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %s = onnx.MatMul %q, %kt : (!q, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %a = onnx.MatMul %p, %v : (!p, !q) -> !q
  %b = onnx.MatMul %p, %w : (!p, !q) -> !q
  %o = onnx.Sub %a, %b : (!q, !q) -> !q
  return %o : !q
}

// Scores with a dim of windows beside that of images, as many as a padded image has: Swin's in images of any number. The
// sizes that they come back to are those of before because all others are.
// CHECK-LABEL: @windows_of_padded_images
// CHECK: %[[B:.+]] = linalg.index 0
// CHECK: %[[FOUR:.+]] = arith.constant 4
// CHECK: arith.remsi %[[B]], %[[FOUR]]
// CHECK: tensor.extract %arg1
// CHECK: megactx.attention
// CHECK-NOT: onnx.Softmax
func.func @windows_of_padded_images(%q: tensor<?x2x4x8xf32>, %m: tensor<3x4x4xf32>) -> tensor<?x2x4x8xf32> {
  %ends = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 1]> : tensor<6xi64>} : tensor<6xi64>
  %0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %last = onnx.initializer {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %least = onnx.initializer {value = dense<-9223372036854775807> : tensor<1xi64>} : tensor<1xi64>
  %axes = onnx.initializer {value = dense<[0, 2]> : tensor<2xi64>} : tensor<2xi64>
  %heads = onnx.initializer {value = dense<[2, 4, 4]> : tensor<3xi64>} : tensor<3xi64>
  %back = onnx.initializer {value = dense<[-1, 2, 4, 4]> : !sizes} : !sizes
  %pads = onnx.Slice %ends, %last, %least, %0, %last : (tensor<6xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<6xi64>
  %padded = onnx.Pad %m, %pads : (tensor<3x4x4xf32>, tensor<6xi64>) -> tensor<?x4x4xf32>
  %mask = onnx.Unsqueeze %padded, %axes : (tensor<?x4x4xf32>, tensor<2xi64>) -> tensor<1x?x1x4x4xf32>
  %qs = onnx.Shape %q : (tensor<?x2x4x8xf32>) -> !sizes
  %all = onnx.Gather %qs, %0 {axis = 0 : i64} : (!sizes, tensor<1xi64>) -> tensor<1xi64>
  %ms = onnx.Shape %padded : (tensor<?x4x4xf32>) -> tensor<3xi64>
  %windows = onnx.Gather %ms, %0 {axis = 0 : i64} : (tensor<3xi64>, tensor<1xi64>) -> tensor<1xi64>
  %images = onnx.Div %all, %windows : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %sizes = onnx.Concat %images, %windows, %heads {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<3xi64>) -> tensor<5xi64>
  %kt = onnx.Transpose %q {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x2x4x8xf32>) -> tensor<?x2x8x4xf32>
  %s = onnx.MatMul %q, %kt : (tensor<?x2x4x8xf32>, tensor<?x2x8x4xf32>) -> tensor<?x2x4x4xf32>
  %w = onnx.Reshape %s, %sizes : (tensor<?x2x4x4xf32>, tensor<5xi64>) -> tensor<?x?x2x4x4xf32>
  %x = onnx.Add %w, %mask : (tensor<?x?x2x4x4xf32>, tensor<1x?x1x4x4xf32>) -> tensor<?x?x2x4x4xf32>
  %f = onnx.Reshape %x, %back : (tensor<?x?x2x4x4xf32>, !sizes) -> tensor<?x2x4x4xf32>
  %p = onnx.Softmax %f {axis = -1 : i64} : (tensor<?x2x4x4xf32>) -> tensor<?x2x4x4xf32>
  %o = onnx.MatMul %p, %q : (tensor<?x2x4x4xf32>, tensor<?x2x4x8xf32>) -> tensor<?x2x4x8xf32>
  return %o : tensor<?x2x4x8xf32>
}

!one = tensor<1x2x?x8xf32>
!onekt = tensor<1x2x8x?xf32>
!ones = tensor<1x2x?x?xf32>
!mask = tensor<?x1x?x?xf32>
!some = tensor<?x2x?x8xf32>

// The sizes that a mask is spread to tell what the type of the sum does not: it is for a batch of one, as the scores are.
// CHECK-LABEL: @mask_spread_to_a_batch_of_one
// CHECK: megactx.attention
// CHECK-NOT: onnx.Softmax
func.func @mask_spread_to_a_batch_of_one(%q: !one, %k: !one, %v: !one, %m: tensor<1x1x?x?xf32>) -> !some {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!one) -> !onekt
  %s = onnx.MatMul %q, %kt : (!one, !onekt) -> !ones
  %batch = onnx.Shape %q {end = 1 : i64} : (!one) -> tensor<1xi64>
  %rest = onnx.initializer {value = dense<1> : tensor<3xi64>} : tensor<3xi64>
  %sizes = onnx.Concat %batch, %rest {axis = 0 : i64} : (tensor<1xi64>, tensor<3xi64>) -> !sizes
  %mask = onnx.Expand %m, %sizes : (tensor<1x1x?x?xf32>, !sizes) -> !mask
  %a = onnx.Add %s, %mask : (!ones, !mask) -> !p
  %p = onnx.Softmax %a {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !one) -> !some
  return %o : !some
}

// Masks of a batch may be many, of which each is for the scores of one.
// CHECK-LABEL: @scores_of_one_spread_to_masks
// CHECK: onnx.Softmax
func.func @scores_of_one_spread_to_masks(%q: !one, %k: !one, %v: !one, %m: !mask) -> !some {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!one) -> !onekt
  %s = onnx.MatMul %q, %kt : (!one, !onekt) -> !ones
  %a = onnx.Add %s, %m : (!ones, !mask) -> !p
  %p = onnx.Softmax %a {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !one) -> !some
  return %o : !some
}

// Keys that were transposed with their heads: the product's lowering refuses it by the node's name.
// CHECK-LABEL: @heads_that_contradict
// CHECK: onnx.Softmax
func.func @heads_that_contradict(%q: tensor<?x4x?x16xf32>, %kt: tensor<?x16x?x4xf32>, %v: tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32> {
  %s = onnx.MatMul %q, %kt : (tensor<?x4x?x16xf32>, tensor<?x16x?x4xf32>) -> tensor<?x?x?x?xf32>
  %p = onnx.Softmax %s {axis = -1 : i64} : (tensor<?x?x?x?xf32>) -> tensor<?x?x?x?xf32>
  %o = onnx.MatMul %p, %v : (tensor<?x?x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %o : tensor<?x4x?x16xf32>
}

// MViT's form of scores with a bias: an assignment to all of them.
// CHECK-LABEL: @scattered_whole
// CHECK: %[[BIAS:.+]] = onnx.Where %{{.+}}, %arg3,
// CHECK: megactx.source {{.*}} bias(%[[BIAS]])
// CHECK: megactx.attention
// CHECK-NOT: onnx.Softmax
func.func @scattered_whole(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>, %bias: tensor<1x2x3x3xf32>) -> tensor<1x2x3x8xf32> {
  %first = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %step = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %heads = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %count = onnx.initializer {value = dense<3> : tensor<i64>} : tensor<i64>
  %one = onnx.initializer {value = dense<0> : tensor<1x1x1x1x1xi64>} : tensor<1x1x1x1x1xi64>
  %sizes = onnx.initializer {value = dense<[1, 2, 3, 3, 1]> : tensor<5xi64>} : tensor<5xi64>
  %h = onnx.Range %first, %heads, %step : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<2xi64>
  %n = onnx.Range %first, %count, %step : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<3xi64>
  %h_axes = onnx.initializer {value = dense<[0, 2, 3, 4]> : tensor<4xi64>} : tensor<4xi64>
  %q_axes = onnx.initializer {value = dense<[0, 1, 3, 4]> : tensor<4xi64>} : tensor<4xi64>
  %k_axes = onnx.initializer {value = dense<[0, 1, 2, 4]> : tensor<4xi64>} : tensor<4xi64>
  %h5 = onnx.Unsqueeze %h, %h_axes : (tensor<2xi64>, tensor<4xi64>) -> tensor<1x2x1x1x1xi64>
  %q5 = onnx.Unsqueeze %n, %q_axes : (tensor<3xi64>, tensor<4xi64>) -> tensor<1x1x3x1x1xi64>
  %k5 = onnx.Unsqueeze %n, %k_axes : (tensor<3xi64>, tensor<4xi64>) -> tensor<1x1x1x3x1xi64>
  %i0 = onnx.Expand %one, %sizes : (tensor<1x1x1x1x1xi64>, tensor<5xi64>) -> tensor<1x2x3x3x1xi64>
  %i1 = onnx.Expand %h5, %sizes : (tensor<1x2x1x1x1xi64>, tensor<5xi64>) -> tensor<1x2x3x3x1xi64>
  %i2 = onnx.Expand %q5, %sizes : (tensor<1x1x3x1x1xi64>, tensor<5xi64>) -> tensor<1x2x3x3x1xi64>
  %i3 = onnx.Expand %k5, %sizes : (tensor<1x1x1x3x1xi64>, tensor<5xi64>) -> tensor<1x2x3x3x1xi64>
  %i = onnx.Concat %i0, %i1, %i2, %i3 {axis = -1 : i64} : (tensor<1x2x3x3x1xi64>, tensor<1x2x3x3x1xi64>, tensor<1x2x3x3x1xi64>, tensor<1x2x3x3x1xi64>) -> tensor<1x2x3x3x4xi64>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x3x8xf32>) -> tensor<1x2x8x3xf32>
  %s = onnx.MatMul %q, %kt : (tensor<1x2x3x8xf32>, tensor<1x2x8x3xf32>) -> tensor<1x2x3x3xf32>
  %a = onnx.Add %s, %bias : (tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %all = onnx.ScatterND %s, %i, %a {reduction = "none"} : (tensor<1x2x3x3xf32>, tensor<1x2x3x3x4xi64>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %p = onnx.Softmax %all {axis = -1 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %o = onnx.MatMul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x3x8xf32>
  return %o : tensor<1x2x3x8xf32>
}

// A softmax in parts, as JAX's is exported: the greatest score of a row, and the sum of exponentials, may be brought back to the scores' sizes in any way.
// CHECK-LABEL: @softmax_in_parts(
// CHECK: megactx.attention
// CHECK-LABEL: @sums_of_columns(
// CHECK-NOT: megactx.attention
!pq = tensor<1x2x4x8xf32>
!pk = tensor<1x2x8x4xf32>
!ps = tensor<1x2x4x4xf32>
!pr = tensor<1x2x4xf32>
func.func @softmax_in_parts(%q: !pq, %kt: !pk, %v: !pq) -> !pq {
  %last = onnx.initializer {value = dense<3> : tensor<1xi64>} : tensor<1xi64>
  %sizes = onnx.initializer {value = dense<[1, 2, 4, 1]> : tensor<4xi64>} : tensor<4xi64>
  %all = onnx.initializer {value = dense<[1, 2, 4, 4]> : tensor<4xi64>} : tensor<4xi64>
  %s = onnx.MatMul %q, %kt : (!pq, !pk) -> !ps
  %max = onnx.ReduceMax %s, %last {keepdims = 0 : i64} : (!ps, tensor<1xi64>) -> !pr
  %row = onnx.Reshape %max, %sizes : (!pr, tensor<4xi64>) -> tensor<1x2x4x1xf32>
  %wide = onnx.Expand %row, %all : (tensor<1x2x4x1xf32>, tensor<4xi64>) -> !ps
  %d = onnx.Sub %s, %wide : (!ps, !ps) -> !ps
  %e = onnx.Exp %d : (!ps) -> !ps
  %sum = onnx.ReduceSum %e, %last {keepdims = 0 : i64} : (!ps, tensor<1xi64>) -> !pr
  %one = onnx.Unsqueeze %sum, %last : (!pr, tensor<1xi64>) -> tensor<1x2x4x1xf32>
  %p = onnx.Div %e, %one : (!ps, tensor<1x2x4x1xf32>) -> !ps
  %o = onnx.MatMul %p, %v : (!ps, !pq) -> !pq
  return %o : !pq
}
func.func @sums_of_columns(%q: !pq, %kt: !pk, %v: !pq) -> !pq {
  %last = onnx.initializer {value = dense<3> : tensor<1xi64>} : tensor<1xi64>
  %before = onnx.initializer {value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %s = onnx.MatMul %q, %kt : (!pq, !pk) -> !ps
  %e = onnx.Exp %s : (!ps) -> !ps
  %sum = onnx.ReduceSum %e, %last {keepdims = 0 : i64} : (!ps, tensor<1xi64>) -> !pr
  %one = onnx.Unsqueeze %sum, %before : (!pr, tensor<1xi64>) -> tensor<1x2x1x4xf32>
  %p = onnx.Div %e, %one : (!ps, tensor<1x2x1x4xf32>) -> !ps
  %o = onnx.MatMul %p, %v : (!ps, !pq) -> !pq
  return %o : !pq
}
