// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s

// Attention in a window of two keys on each side, spelled out in blocks of two queries and chunks of six keys: scores are skewed
// to one place per distance and probabilities are skewed back.

!rows = tensor<2x12x8xf32>
!queries = tensor<2x6x2x8xf32>
!part = tensor<2x1x6x8xf32>
!chunks = tensor<2x6x6x8xf32>
!square = tensor<2x6x2x6xf32>
!wide = tensor<2x6x2x7xf32>
!window = tensor<2x6x2x5xf32>
!places = tensor<6x2x5xi64>
!truths = tensor<6x2x5xi1>
!one = tensor<1xi64>
!three = tensor<3xi64>
!four = tensor<4xi64>

// CHECK-LABEL: @window
// CHECK: %[[Q:.+]] = onnx.Unsqueeze %arg0
// CHECK: %[[K:.+]] = onnx.Unsqueeze %arg1
// CHECK: %[[V:.+]] = onnx.Unsqueeze %arg2
// CHECK: %[[S:.+]] = megactx.source %[[K]], %[[V]] pattern(#megactx.pattern<window<left = 2, right = 2>>)
// CHECK: %[[OUT:.+]] = megactx.attention %[[Q]], %[[S]]
// CHECK: onnx.Reshape %[[OUT]]
// CHECK-NOT: onnx.Softmax
func.func @window(%q: !rows, %k: !rows, %v: !rows) -> !queries {
  %c0 = onnx.initializer {value = dense<0> : !one} : !one
  %c1 = onnx.initializer {value = dense<1> : !one} : !one
  %c2 = onnx.initializer {value = dense<2> : !one} : !one
  %c3 = onnx.initializer {value = dense<3> : !one} : !one
  %c4 = onnx.initializer {value = dense<4> : !one} : !one
  %c5 = onnx.initializer {value = dense<5> : !one} : !one
  %c6 = onnx.initializer {value = dense<6> : !one} : !one
  %c8 = onnx.initializer {value = dense<8> : !one} : !one
  %c10 = onnx.initializer {value = dense<10> : !one} : !one
  %c12 = onnx.initializer {value = dense<12> : !one} : !one
  %c14 = onnx.initializer {value = dense<14> : !one} : !one
  %c16 = onnx.initializer {value = dense<16> : !one} : !one
  %blocks = onnx.initializer {value = dense<[2, 6, 2, 8]> : !four} : !four
  %flat = onnx.initializer {value = dense<[2, 6, 12]> : !three} : !three
  %wide = onnx.initializer {value = dense<[2, 6, 2, 7]> : !four} : !four
  %square = onnx.initializer {value = dense<[2, 6, 2, 6]> : !four} : !four
  %wider = onnx.initializer {value = dense<[2, 6, 14]> : !three} : !three
  %sides = onnx.initializer {value = dense<[0, 2, 0, 0, 2, 0]> : tensor<6xi64>} : tensor<6xi64>
  %end = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 2]> : tensor<6xi64>} : tensor<6xi64>
  %ends = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 0, 0, 2]> : tensor<8xi64>} : tensor<8xi64>
  %none = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %twelve = onnx.initializer {value = dense<12> : tensor<i64>} : tensor<i64>
  %block = onnx.initializer {value = dense<[[[0]], [[2]], [[4]], [[6]], [[8]], [[10]]]> : tensor<6x1x1xi64>} : tensor<6x1x1xi64>
  %row = onnx.initializer {value = dense<[[0], [1]]> : tensor<2x1xi64>} : tensor<2x1xi64>
  %column = onnx.initializer {value = dense<[-2, -1, 0, 1, 2]> : tensor<5xi64>} : tensor<5xi64>
  %qb = onnx.Reshape %q, %blocks : (!rows, !four) -> !queries
  %kp = onnx.Pad %k, %sides : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %ks0 = onnx.Slice %kp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k0 = onnx.Unsqueeze %ks0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks1 = onnx.Slice %kp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k1 = onnx.Unsqueeze %ks1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks2 = onnx.Slice %kp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k2 = onnx.Unsqueeze %ks2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks3 = onnx.Slice %kp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k3 = onnx.Unsqueeze %ks3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks4 = onnx.Slice %kp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k4 = onnx.Unsqueeze %ks4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks5 = onnx.Slice %kp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k5 = onnx.Unsqueeze %ks5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %kc = onnx.Concat %k0, %k1, %k2, %k3, %k4, %k5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %vp = onnx.Pad %v, %sides : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %vs0 = onnx.Slice %vp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v0 = onnx.Unsqueeze %vs0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs1 = onnx.Slice %vp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v1 = onnx.Unsqueeze %vs1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs2 = onnx.Slice %vp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v2 = onnx.Unsqueeze %vs2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs3 = onnx.Slice %vp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v3 = onnx.Unsqueeze %vs3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs4 = onnx.Slice %vp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v4 = onnx.Unsqueeze %vs4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs5 = onnx.Slice %vp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v5 = onnx.Unsqueeze %vs5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vc = onnx.Concat %v0, %v1, %v2, %v3, %v4, %v5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %kt = onnx.Transpose %kc {perm = array<i64: 0, 1, 3, 2>} : (!chunks) -> tensor<2x6x8x6xf32>
  %s = onnx.MatMul %qb, %kt : (!queries, tensor<2x6x8x6xf32>) -> !square
  %s0 = onnx.Reshape %s, %flat : (!square, !three) -> tensor<2x6x12xf32>
  %s1 = onnx.Pad %s0, %end : (tensor<2x6x12xf32>, tensor<6xi64>) -> tensor<2x6x14xf32>
  %s2 = onnx.Reshape %s1, %wide : (tensor<2x6x14xf32>, !four) -> !wide
  %s3 = onnx.Slice %s2, %c0, %c5, %c3 : (!wide, !one, !one, !one) -> !window
  %p0 = onnx.Add %block, %row : (tensor<6x1x1xi64>, tensor<2x1xi64>) -> tensor<6x2x1xi64>
  %p1 = onnx.Add %p0, %column : (tensor<6x2x1xi64>, tensor<5xi64>) -> !places
  %p2 = onnx.Less %p1, %zero : (!places, tensor<i64>) -> !truths
  %p3 = onnx.GreaterOrEqual %p1, %twelve : (!places, tensor<i64>) -> !truths
  %p4 = onnx.Or %p2, %p3 : (!truths, !truths) -> !truths
  %s4 = onnx.Where %p4, %none, %s3 : (!truths, tensor<f32>, !window) -> !window
  %p = onnx.Softmax %s4 {axis = -1 : i64} : (!window) -> !window
  %w0 = onnx.Pad %p, %ends : (!window, tensor<8xi64>) -> !wide
  %w1 = onnx.Reshape %w0, %wider : (!wide, !three) -> tensor<2x6x14xf32>
  %w2 = onnx.Slice %w1, %c0, %c12, %c2 : (tensor<2x6x14xf32>, !one, !one, !one) -> tensor<2x6x12xf32>
  %w3 = onnx.Reshape %w2, %square : (tensor<2x6x12xf32>, !four) -> !square
  %o = onnx.MatMul %w3, %vc : (!square, !chunks) -> !queries
  return %o : !queries
}

// Rows whose probabilities a mask sets to zero are zero.
// CHECK-LABEL: @rows_without_weights
// CHECK: %[[OUT:.+]] = megactx.attention
// CHECK: tensor.extract %arg3
// CHECK: onnx.Where %{{.+}}, %[[OUT]]
// CHECK-NOT: onnx.Softmax
func.func @rows_without_weights(%q: !rows, %k: !rows, %v: !rows, %r: tensor<6x2x1xi1>) -> !queries {
  %c0 = onnx.initializer {value = dense<0> : !one} : !one
  %c1 = onnx.initializer {value = dense<1> : !one} : !one
  %c2 = onnx.initializer {value = dense<2> : !one} : !one
  %c3 = onnx.initializer {value = dense<3> : !one} : !one
  %c4 = onnx.initializer {value = dense<4> : !one} : !one
  %c5 = onnx.initializer {value = dense<5> : !one} : !one
  %c6 = onnx.initializer {value = dense<6> : !one} : !one
  %c8 = onnx.initializer {value = dense<8> : !one} : !one
  %c10 = onnx.initializer {value = dense<10> : !one} : !one
  %c12 = onnx.initializer {value = dense<12> : !one} : !one
  %c14 = onnx.initializer {value = dense<14> : !one} : !one
  %c16 = onnx.initializer {value = dense<16> : !one} : !one
  %blocks = onnx.initializer {value = dense<[2, 6, 2, 8]> : !four} : !four
  %flat = onnx.initializer {value = dense<[2, 6, 12]> : !three} : !three
  %wide = onnx.initializer {value = dense<[2, 6, 2, 7]> : !four} : !four
  %square = onnx.initializer {value = dense<[2, 6, 2, 6]> : !four} : !four
  %wider = onnx.initializer {value = dense<[2, 6, 14]> : !three} : !three
  %sides = onnx.initializer {value = dense<[0, 2, 0, 0, 2, 0]> : tensor<6xi64>} : tensor<6xi64>
  %end = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 2]> : tensor<6xi64>} : tensor<6xi64>
  %ends = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 0, 0, 2]> : tensor<8xi64>} : tensor<8xi64>
  %none = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %twelve = onnx.initializer {value = dense<12> : tensor<i64>} : tensor<i64>
  %block = onnx.initializer {value = dense<[[[0]], [[2]], [[4]], [[6]], [[8]], [[10]]]> : tensor<6x1x1xi64>} : tensor<6x1x1xi64>
  %row = onnx.initializer {value = dense<[[0], [1]]> : tensor<2x1xi64>} : tensor<2x1xi64>
  %column = onnx.initializer {value = dense<[-2, -1, 0, 1, 2]> : tensor<5xi64>} : tensor<5xi64>
  %qb = onnx.Reshape %q, %blocks : (!rows, !four) -> !queries
  %kp = onnx.Pad %k, %sides : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %ks0 = onnx.Slice %kp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k0 = onnx.Unsqueeze %ks0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks1 = onnx.Slice %kp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k1 = onnx.Unsqueeze %ks1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks2 = onnx.Slice %kp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k2 = onnx.Unsqueeze %ks2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks3 = onnx.Slice %kp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k3 = onnx.Unsqueeze %ks3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks4 = onnx.Slice %kp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k4 = onnx.Unsqueeze %ks4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks5 = onnx.Slice %kp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k5 = onnx.Unsqueeze %ks5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %kc = onnx.Concat %k0, %k1, %k2, %k3, %k4, %k5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %vp = onnx.Pad %v, %sides : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %vs0 = onnx.Slice %vp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v0 = onnx.Unsqueeze %vs0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs1 = onnx.Slice %vp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v1 = onnx.Unsqueeze %vs1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs2 = onnx.Slice %vp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v2 = onnx.Unsqueeze %vs2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs3 = onnx.Slice %vp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v3 = onnx.Unsqueeze %vs3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs4 = onnx.Slice %vp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v4 = onnx.Unsqueeze %vs4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs5 = onnx.Slice %vp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v5 = onnx.Unsqueeze %vs5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vc = onnx.Concat %v0, %v1, %v2, %v3, %v4, %v5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %kt = onnx.Transpose %kc {perm = array<i64: 0, 1, 3, 2>} : (!chunks) -> tensor<2x6x8x6xf32>
  %s = onnx.MatMul %qb, %kt : (!queries, tensor<2x6x8x6xf32>) -> !square
  %s0 = onnx.Reshape %s, %flat : (!square, !three) -> tensor<2x6x12xf32>
  %s1 = onnx.Pad %s0, %end : (tensor<2x6x12xf32>, tensor<6xi64>) -> tensor<2x6x14xf32>
  %s2 = onnx.Reshape %s1, %wide : (tensor<2x6x14xf32>, !four) -> !wide
  %s3 = onnx.Slice %s2, %c0, %c5, %c3 : (!wide, !one, !one, !one) -> !window
  %p0 = onnx.Add %block, %row : (tensor<6x1x1xi64>, tensor<2x1xi64>) -> tensor<6x2x1xi64>
  %p1 = onnx.Add %p0, %column : (tensor<6x2x1xi64>, tensor<5xi64>) -> !places
  %p2 = onnx.Less %p1, %zero : (!places, tensor<i64>) -> !truths
  %p3 = onnx.GreaterOrEqual %p1, %twelve : (!places, tensor<i64>) -> !truths
  %p4 = onnx.Or %p2, %p3 : (!truths, !truths) -> !truths
  %s4 = onnx.Where %p4, %none, %s3 : (!truths, tensor<f32>, !window) -> !window
  %p = onnx.Softmax %s4 {axis = -1 : i64} : (!window) -> !window
  %nothing = onnx.initializer {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %pr = onnx.Where %r, %nothing, %p : (tensor<6x2x1xi1>, tensor<f32>, !window) -> !window
  %w0 = onnx.Pad %pr, %ends : (!window, tensor<8xi64>) -> !wide
  %w1 = onnx.Reshape %w0, %wider : (!wide, !three) -> tensor<2x6x14xf32>
  %w2 = onnx.Slice %w1, %c0, %c12, %c2 : (tensor<2x6x14xf32>, !one, !one, !one) -> tensor<2x6x12xf32>
  %w3 = onnx.Reshape %w2, %square : (tensor<2x6x12xf32>, !four) -> !square
  %o = onnx.MatMul %w3, %vc : (!square, !chunks) -> !queries
  return %o : !queries
}

// Scores of the zeros around the keys have weights.
// CHECK-LABEL: @keys_that_are_not
// CHECK: onnx.Softmax
func.func @keys_that_are_not(%q: !rows, %k: !rows, %v: !rows) -> !queries {
  %c0 = onnx.initializer {value = dense<0> : !one} : !one
  %c1 = onnx.initializer {value = dense<1> : !one} : !one
  %c2 = onnx.initializer {value = dense<2> : !one} : !one
  %c3 = onnx.initializer {value = dense<3> : !one} : !one
  %c4 = onnx.initializer {value = dense<4> : !one} : !one
  %c5 = onnx.initializer {value = dense<5> : !one} : !one
  %c6 = onnx.initializer {value = dense<6> : !one} : !one
  %c8 = onnx.initializer {value = dense<8> : !one} : !one
  %c10 = onnx.initializer {value = dense<10> : !one} : !one
  %c12 = onnx.initializer {value = dense<12> : !one} : !one
  %c14 = onnx.initializer {value = dense<14> : !one} : !one
  %c16 = onnx.initializer {value = dense<16> : !one} : !one
  %blocks = onnx.initializer {value = dense<[2, 6, 2, 8]> : !four} : !four
  %flat = onnx.initializer {value = dense<[2, 6, 12]> : !three} : !three
  %wide = onnx.initializer {value = dense<[2, 6, 2, 7]> : !four} : !four
  %square = onnx.initializer {value = dense<[2, 6, 2, 6]> : !four} : !four
  %wider = onnx.initializer {value = dense<[2, 6, 14]> : !three} : !three
  %sides = onnx.initializer {value = dense<[0, 2, 0, 0, 2, 0]> : tensor<6xi64>} : tensor<6xi64>
  %end = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 2]> : tensor<6xi64>} : tensor<6xi64>
  %ends = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 0, 0, 2]> : tensor<8xi64>} : tensor<8xi64>
  %none = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %twelve = onnx.initializer {value = dense<12> : tensor<i64>} : tensor<i64>
  %block = onnx.initializer {value = dense<[[[0]], [[2]], [[4]], [[6]], [[8]], [[10]]]> : tensor<6x1x1xi64>} : tensor<6x1x1xi64>
  %row = onnx.initializer {value = dense<[[0], [1]]> : tensor<2x1xi64>} : tensor<2x1xi64>
  %column = onnx.initializer {value = dense<[-2, -1, 0, 1, 2]> : tensor<5xi64>} : tensor<5xi64>
  %qb = onnx.Reshape %q, %blocks : (!rows, !four) -> !queries
  %kp = onnx.Pad %k, %sides : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %ks0 = onnx.Slice %kp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k0 = onnx.Unsqueeze %ks0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks1 = onnx.Slice %kp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k1 = onnx.Unsqueeze %ks1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks2 = onnx.Slice %kp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k2 = onnx.Unsqueeze %ks2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks3 = onnx.Slice %kp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k3 = onnx.Unsqueeze %ks3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks4 = onnx.Slice %kp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k4 = onnx.Unsqueeze %ks4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks5 = onnx.Slice %kp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k5 = onnx.Unsqueeze %ks5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %kc = onnx.Concat %k0, %k1, %k2, %k3, %k4, %k5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %vp = onnx.Pad %v, %sides : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %vs0 = onnx.Slice %vp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v0 = onnx.Unsqueeze %vs0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs1 = onnx.Slice %vp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v1 = onnx.Unsqueeze %vs1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs2 = onnx.Slice %vp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v2 = onnx.Unsqueeze %vs2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs3 = onnx.Slice %vp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v3 = onnx.Unsqueeze %vs3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs4 = onnx.Slice %vp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v4 = onnx.Unsqueeze %vs4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs5 = onnx.Slice %vp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v5 = onnx.Unsqueeze %vs5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vc = onnx.Concat %v0, %v1, %v2, %v3, %v4, %v5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %kt = onnx.Transpose %kc {perm = array<i64: 0, 1, 3, 2>} : (!chunks) -> tensor<2x6x8x6xf32>
  %s = onnx.MatMul %qb, %kt : (!queries, tensor<2x6x8x6xf32>) -> !square
  %s0 = onnx.Reshape %s, %flat : (!square, !three) -> tensor<2x6x12xf32>
  %s1 = onnx.Pad %s0, %end : (tensor<2x6x12xf32>, tensor<6xi64>) -> tensor<2x6x14xf32>
  %s2 = onnx.Reshape %s1, %wide : (tensor<2x6x14xf32>, !four) -> !wide
  %s3 = onnx.Slice %s2, %c0, %c5, %c3 : (!wide, !one, !one, !one) -> !window
  %p0 = onnx.Add %block, %row : (tensor<6x1x1xi64>, tensor<2x1xi64>) -> tensor<6x2x1xi64>
  %p1 = onnx.Add %p0, %column : (tensor<6x2x1xi64>, tensor<5xi64>) -> !places
  %p = onnx.Softmax %s3 {axis = -1 : i64} : (!window) -> !window
  %w0 = onnx.Pad %p, %ends : (!window, tensor<8xi64>) -> !wide
  %w1 = onnx.Reshape %w0, %wider : (!wide, !three) -> tensor<2x6x14xf32>
  %w2 = onnx.Slice %w1, %c0, %c12, %c2 : (tensor<2x6x14xf32>, !one, !one, !one) -> tensor<2x6x12xf32>
  %w3 = onnx.Reshape %w2, %square : (tensor<2x6x12xf32>, !four) -> !square
  %o = onnx.MatMul %w3, %vc : (!square, !chunks) -> !queries
  return %o : !queries
}

// Each row of scores is that of the query before.
// CHECK-LABEL: @scores_of_other_queries
// CHECK: onnx.Softmax
func.func @scores_of_other_queries(%q: !rows, %k: !rows, %v: !rows) -> !queries {
  %c0 = onnx.initializer {value = dense<0> : !one} : !one
  %c1 = onnx.initializer {value = dense<1> : !one} : !one
  %c2 = onnx.initializer {value = dense<2> : !one} : !one
  %c3 = onnx.initializer {value = dense<3> : !one} : !one
  %c4 = onnx.initializer {value = dense<4> : !one} : !one
  %c5 = onnx.initializer {value = dense<5> : !one} : !one
  %c6 = onnx.initializer {value = dense<6> : !one} : !one
  %c8 = onnx.initializer {value = dense<8> : !one} : !one
  %c10 = onnx.initializer {value = dense<10> : !one} : !one
  %c12 = onnx.initializer {value = dense<12> : !one} : !one
  %c14 = onnx.initializer {value = dense<14> : !one} : !one
  %c16 = onnx.initializer {value = dense<16> : !one} : !one
  %blocks = onnx.initializer {value = dense<[2, 6, 2, 8]> : !four} : !four
  %flat = onnx.initializer {value = dense<[2, 6, 12]> : !three} : !three
  %wide = onnx.initializer {value = dense<[2, 6, 2, 7]> : !four} : !four
  %square = onnx.initializer {value = dense<[2, 6, 2, 6]> : !four} : !four
  %wider = onnx.initializer {value = dense<[2, 6, 14]> : !three} : !three
  %sides = onnx.initializer {value = dense<[0, 2, 0, 0, 2, 0]> : tensor<6xi64>} : tensor<6xi64>
  %end = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 2]> : tensor<6xi64>} : tensor<6xi64>
  %ends = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 0, 0, 2]> : tensor<8xi64>} : tensor<8xi64>
  %none = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %twelve = onnx.initializer {value = dense<12> : tensor<i64>} : tensor<i64>
  %block = onnx.initializer {value = dense<[[[0]], [[2]], [[4]], [[6]], [[8]], [[10]]]> : tensor<6x1x1xi64>} : tensor<6x1x1xi64>
  %row = onnx.initializer {value = dense<[[0], [1]]> : tensor<2x1xi64>} : tensor<2x1xi64>
  %column = onnx.initializer {value = dense<[-2, -1, 0, 1, 2]> : tensor<5xi64>} : tensor<5xi64>
  %before = onnx.initializer {value = dense<[0, 1, 0, 0, 0, 0]> : tensor<6xi64>} : tensor<6xi64>
  %qp = onnx.Pad %q, %before : (!rows, tensor<6xi64>) -> tensor<2x13x8xf32>
  %qs = onnx.Slice %qp, %c0, %c12, %c1 : (tensor<2x13x8xf32>, !one, !one, !one) -> !rows
  %qb = onnx.Reshape %qs, %blocks : (!rows, !four) -> !queries
  %kp = onnx.Pad %k, %sides : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %ks0 = onnx.Slice %kp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k0 = onnx.Unsqueeze %ks0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks1 = onnx.Slice %kp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k1 = onnx.Unsqueeze %ks1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks2 = onnx.Slice %kp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k2 = onnx.Unsqueeze %ks2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks3 = onnx.Slice %kp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k3 = onnx.Unsqueeze %ks3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks4 = onnx.Slice %kp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k4 = onnx.Unsqueeze %ks4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks5 = onnx.Slice %kp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k5 = onnx.Unsqueeze %ks5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %kc = onnx.Concat %k0, %k1, %k2, %k3, %k4, %k5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %vp = onnx.Pad %v, %sides : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %vs0 = onnx.Slice %vp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v0 = onnx.Unsqueeze %vs0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs1 = onnx.Slice %vp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v1 = onnx.Unsqueeze %vs1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs2 = onnx.Slice %vp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v2 = onnx.Unsqueeze %vs2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs3 = onnx.Slice %vp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v3 = onnx.Unsqueeze %vs3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs4 = onnx.Slice %vp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v4 = onnx.Unsqueeze %vs4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs5 = onnx.Slice %vp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v5 = onnx.Unsqueeze %vs5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vc = onnx.Concat %v0, %v1, %v2, %v3, %v4, %v5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %kt = onnx.Transpose %kc {perm = array<i64: 0, 1, 3, 2>} : (!chunks) -> tensor<2x6x8x6xf32>
  %s = onnx.MatMul %qb, %kt : (!queries, tensor<2x6x8x6xf32>) -> !square
  %s0 = onnx.Reshape %s, %flat : (!square, !three) -> tensor<2x6x12xf32>
  %s1 = onnx.Pad %s0, %end : (tensor<2x6x12xf32>, tensor<6xi64>) -> tensor<2x6x14xf32>
  %s2 = onnx.Reshape %s1, %wide : (tensor<2x6x14xf32>, !four) -> !wide
  %s3 = onnx.Slice %s2, %c0, %c5, %c3 : (!wide, !one, !one, !one) -> !window
  %p0 = onnx.Add %block, %row : (tensor<6x1x1xi64>, tensor<2x1xi64>) -> tensor<6x2x1xi64>
  %p1 = onnx.Add %p0, %column : (tensor<6x2x1xi64>, tensor<5xi64>) -> !places
  %p2 = onnx.Less %p1, %zero : (!places, tensor<i64>) -> !truths
  %p3 = onnx.GreaterOrEqual %p1, %twelve : (!places, tensor<i64>) -> !truths
  %p4 = onnx.Or %p2, %p3 : (!truths, !truths) -> !truths
  %s4 = onnx.Where %p4, %none, %s3 : (!truths, tensor<f32>, !window) -> !window
  %p = onnx.Softmax %s4 {axis = -1 : i64} : (!window) -> !window
  %w0 = onnx.Pad %p, %ends : (!window, tensor<8xi64>) -> !wide
  %w1 = onnx.Reshape %w0, %wider : (!wide, !three) -> tensor<2x6x14xf32>
  %w2 = onnx.Slice %w1, %c0, %c12, %c2 : (tensor<2x6x14xf32>, !one, !one, !one) -> tensor<2x6x12xf32>
  %w3 = onnx.Reshape %w2, %square : (tensor<2x6x12xf32>, !four) -> !square
  %o = onnx.MatMul %w3, %vc : (!square, !chunks) -> !queries
  return %o : !queries
}

// Probabilities weigh the values of the next key.
// CHECK-LABEL: @values_of_other_keys
// CHECK: onnx.Softmax
func.func @values_of_other_keys(%q: !rows, %k: !rows, %v: !rows) -> !queries {
  %c0 = onnx.initializer {value = dense<0> : !one} : !one
  %c1 = onnx.initializer {value = dense<1> : !one} : !one
  %c2 = onnx.initializer {value = dense<2> : !one} : !one
  %c3 = onnx.initializer {value = dense<3> : !one} : !one
  %c4 = onnx.initializer {value = dense<4> : !one} : !one
  %c5 = onnx.initializer {value = dense<5> : !one} : !one
  %c6 = onnx.initializer {value = dense<6> : !one} : !one
  %c8 = onnx.initializer {value = dense<8> : !one} : !one
  %c10 = onnx.initializer {value = dense<10> : !one} : !one
  %c12 = onnx.initializer {value = dense<12> : !one} : !one
  %c14 = onnx.initializer {value = dense<14> : !one} : !one
  %c16 = onnx.initializer {value = dense<16> : !one} : !one
  %blocks = onnx.initializer {value = dense<[2, 6, 2, 8]> : !four} : !four
  %flat = onnx.initializer {value = dense<[2, 6, 12]> : !three} : !three
  %wide = onnx.initializer {value = dense<[2, 6, 2, 7]> : !four} : !four
  %square = onnx.initializer {value = dense<[2, 6, 2, 6]> : !four} : !four
  %wider = onnx.initializer {value = dense<[2, 6, 14]> : !three} : !three
  %sides = onnx.initializer {value = dense<[0, 2, 0, 0, 2, 0]> : tensor<6xi64>} : tensor<6xi64>
  %late = onnx.initializer {value = dense<[0, 1, 0, 0, 3, 0]> : tensor<6xi64>} : tensor<6xi64>
  %end = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 2]> : tensor<6xi64>} : tensor<6xi64>
  %ends = onnx.initializer {value = dense<[0, 0, 0, 0, 0, 0, 0, 2]> : tensor<8xi64>} : tensor<8xi64>
  %none = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %twelve = onnx.initializer {value = dense<12> : tensor<i64>} : tensor<i64>
  %block = onnx.initializer {value = dense<[[[0]], [[2]], [[4]], [[6]], [[8]], [[10]]]> : tensor<6x1x1xi64>} : tensor<6x1x1xi64>
  %row = onnx.initializer {value = dense<[[0], [1]]> : tensor<2x1xi64>} : tensor<2x1xi64>
  %column = onnx.initializer {value = dense<[-2, -1, 0, 1, 2]> : tensor<5xi64>} : tensor<5xi64>
  %qb = onnx.Reshape %q, %blocks : (!rows, !four) -> !queries
  %kp = onnx.Pad %k, %sides : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %ks0 = onnx.Slice %kp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k0 = onnx.Unsqueeze %ks0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks1 = onnx.Slice %kp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k1 = onnx.Unsqueeze %ks1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks2 = onnx.Slice %kp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k2 = onnx.Unsqueeze %ks2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks3 = onnx.Slice %kp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k3 = onnx.Unsqueeze %ks3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks4 = onnx.Slice %kp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k4 = onnx.Unsqueeze %ks4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %ks5 = onnx.Slice %kp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %k5 = onnx.Unsqueeze %ks5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %kc = onnx.Concat %k0, %k1, %k2, %k3, %k4, %k5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %vp = onnx.Pad %v, %late : (!rows, tensor<6xi64>) -> tensor<2x16x8xf32>
  %vs0 = onnx.Slice %vp, %c0, %c6, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v0 = onnx.Unsqueeze %vs0, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs1 = onnx.Slice %vp, %c2, %c8, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v1 = onnx.Unsqueeze %vs1, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs2 = onnx.Slice %vp, %c4, %c10, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v2 = onnx.Unsqueeze %vs2, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs3 = onnx.Slice %vp, %c6, %c12, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v3 = onnx.Unsqueeze %vs3, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs4 = onnx.Slice %vp, %c8, %c14, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v4 = onnx.Unsqueeze %vs4, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vs5 = onnx.Slice %vp, %c10, %c16, %c1 : (tensor<2x16x8xf32>, !one, !one, !one) -> tensor<2x6x8xf32>
  %v5 = onnx.Unsqueeze %vs5, %c1 : (tensor<2x6x8xf32>, !one) -> !part
  %vc = onnx.Concat %v0, %v1, %v2, %v3, %v4, %v5 {axis = 1 : i64} : (!part, !part, !part, !part, !part, !part) -> !chunks
  %kt = onnx.Transpose %kc {perm = array<i64: 0, 1, 3, 2>} : (!chunks) -> tensor<2x6x8x6xf32>
  %s = onnx.MatMul %qb, %kt : (!queries, tensor<2x6x8x6xf32>) -> !square
  %s0 = onnx.Reshape %s, %flat : (!square, !three) -> tensor<2x6x12xf32>
  %s1 = onnx.Pad %s0, %end : (tensor<2x6x12xf32>, tensor<6xi64>) -> tensor<2x6x14xf32>
  %s2 = onnx.Reshape %s1, %wide : (tensor<2x6x14xf32>, !four) -> !wide
  %s3 = onnx.Slice %s2, %c0, %c5, %c3 : (!wide, !one, !one, !one) -> !window
  %p0 = onnx.Add %block, %row : (tensor<6x1x1xi64>, tensor<2x1xi64>) -> tensor<6x2x1xi64>
  %p1 = onnx.Add %p0, %column : (tensor<6x2x1xi64>, tensor<5xi64>) -> !places
  %p2 = onnx.Less %p1, %zero : (!places, tensor<i64>) -> !truths
  %p3 = onnx.GreaterOrEqual %p1, %twelve : (!places, tensor<i64>) -> !truths
  %p4 = onnx.Or %p2, %p3 : (!truths, !truths) -> !truths
  %s4 = onnx.Where %p4, %none, %s3 : (!truths, tensor<f32>, !window) -> !window
  %p = onnx.Softmax %s4 {axis = -1 : i64} : (!window) -> !window
  %w0 = onnx.Pad %p, %ends : (!window, tensor<8xi64>) -> !wide
  %w1 = onnx.Reshape %w0, %wider : (!wide, !three) -> tensor<2x6x14xf32>
  %w2 = onnx.Slice %w1, %c0, %c12, %c2 : (tensor<2x6x14xf32>, !one, !one, !one) -> tensor<2x6x12xf32>
  %w3 = onnx.Reshape %w2, %square : (tensor<2x6x12xf32>, !four) -> !square
  %o = onnx.MatMul %w3, %vc : (!square, !chunks) -> !queries
  return %o : !queries
}

