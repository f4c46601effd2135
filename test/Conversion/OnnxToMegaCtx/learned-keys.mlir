// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s
// RUN: megactx-opt %s --megactx-raise-onnx-attention --megactx-sparsify='pattern="window<left = 3, right = 1>"' | FileCheck %s --check-prefix=SPARSE

// Learned keys, before those of tokens or behind them, stand at no position: all queries see them, whatever pattern there is.

!x = tensor<?x1x?x8xf32>
!w = tensor<8x8xf32>
!i = tensor<1xi64>
!kt = tensor<?x1x8x?xf32>
!p = tensor<?x1x?x?xf32>

// CHECK-LABEL: @null_key(
// CHECK: %[[NULL:.+]] = megactx.source %[[E:.+]], %[[E]] pattern(#megactx.pattern<dense>) everywhere
// CHECK: %[[OWN:.+]] = megactx.source %[[K:.+]], %[[K]] pattern(#megactx.pattern<dense>) :
// CHECK: megactx.attention %{{.+}}, %[[NULL]], %[[OWN]] offset
// SPARSE-LABEL: @null_key(
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<dense>) everywhere
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<window<left = 3, right = 1>>) :
func.func @null_key(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %one = onnx.initializer {value = dense<0.5> : tensor<1x1x1x8xf32>} : tensor<1x1x1x8xf32>
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %n = onnx.Shape %x {start = 0 : i64, end = 1 : i64} : (!x) -> !i
  %sizes = onnx.Concat %n, %1, %1, %1 {axis = 0 : i64} : (!i, !i, !i, !i) -> tensor<4xi64>
  %each = onnx.Expand %one, %sizes : (tensor<1x1x1x8xf32>, tensor<4xi64>) -> tensor<?x1x1x8xf32>
  %q = onnx.MatMul %x, %w : (!x, !w) -> !x
  %own = onnx.MatMul %x, %w : (!x, !w) -> !x
  %k = onnx.Concat %each, %own {axis = 2 : i64} : (tensor<?x1x1x8xf32>, !x) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @null_key_before_causal_ones(
// CHECK: %[[NULL:.+]] = megactx.source %[[E:.+]], %[[E]] pattern(#megactx.pattern<dense>) everywhere
// CHECK: %[[OWN:.+]] = megactx.source %[[K:.+]], %[[K]] pattern(#megactx.pattern<causal>) :
// CHECK: megactx.attention %{{.+}}, %[[NULL]], %[[OWN]] offset
// SPARSE-LABEL: @null_key_before_causal_ones(
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<dense>) everywhere
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<window<left = 3, right = 1> and causal>) :
func.func @null_key_before_causal_ones(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %one = onnx.initializer {value = dense<0.5> : tensor<1x1x1x8xf32>} : tensor<1x1x1x8xf32>
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %n = onnx.Shape %x {start = 0 : i64, end = 1 : i64} : (!x) -> !i
  %sizes = onnx.Concat %n, %1, %1, %1 {axis = 0 : i64} : (!i, !i, !i, !i) -> tensor<4xi64>
  %each = onnx.Expand %one, %sizes : (tensor<1x1x1x8xf32>, tensor<4xi64>) -> tensor<?x1x1x8xf32>
  %q = onnx.MatMul %x, %w : (!x, !w) -> !x
  %own = onnx.MatMul %x, %w : (!x, !w) -> !x
  %k = onnx.Concat %each, %own {axis = 2 : i64} : (tensor<?x1x1x8xf32>, !x) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %minus = onnx.initializer {value = dense<-1.0e30> : tensor<f32>} : tensor<f32>
  %no = onnx.initializer {value = dense<false> : tensor<i1>} : tensor<i1>
  %pads = onnx.initializer {value = dense<[0, 1, 0, 0]> : tensor<4xi64>} : tensor<4xi64>
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %step = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %two = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %0 = onnx.initializer {value = dense<0> : !i} : !i
  %shape = onnx.Shape %q : (!x) -> tensor<4xi64>
  %rows = onnx.Gather %shape, %two {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %range = onnx.Range %zero, %rows, %step : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %r = onnx.Unsqueeze %range, %1 : (tensor<?xi64>, !i) -> tensor<?x1xi64>
  %c = onnx.Unsqueeze %range, %0 : (tensor<?xi64>, !i) -> tensor<1x?xi64>
  %later = onnx.Greater %c, %r : (tensor<1x?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %hidden = onnx.Pad %later, %pads, %no {mode = "constant"} : (tensor<?x?xi1>, tensor<4xi64>, tensor<i1>) -> tensor<?x?xi1>
  %m = onnx.Where %hidden, %minus, %s : (tensor<?x?xi1>, tensor<f32>, !p) -> !p
  %p = onnx.Softmax %m {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @learned_key_behind(
// CHECK: %[[NULL:.+]] = megactx.source %[[E:.+]], %[[E]] pattern(#megactx.pattern<dense>) everywhere
// CHECK: %[[OWN:.+]] = megactx.source %[[K:.+]], %[[K]] pattern(#megactx.pattern<dense>) :
// CHECK: megactx.attention %{{.+}}, %[[NULL]], %[[OWN]] offset
// SPARSE-LABEL: @learned_key_behind(
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<dense>) everywhere
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<window<left = 3, right = 1>>) :
func.func @learned_key_behind(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %one = onnx.initializer {value = dense<0.5> : tensor<1x1x1x8xf32>} : tensor<1x1x1x8xf32>
  %1 = onnx.initializer {value = dense<1> : !i} : !i
  %n = onnx.Shape %x {start = 0 : i64, end = 1 : i64} : (!x) -> !i
  %sizes = onnx.Concat %n, %1, %1, %1 {axis = 0 : i64} : (!i, !i, !i, !i) -> tensor<4xi64>
  %each = onnx.Expand %one, %sizes : (tensor<1x1x1x8xf32>, tensor<4xi64>) -> tensor<?x1x1x8xf32>
  %q = onnx.MatMul %x, %w : (!x, !w) -> !x
  %own = onnx.MatMul %x, %w : (!x, !w) -> !x
  %k = onnx.Concat %own, %each {axis = 2 : i64} : (!x, tensor<?x1x1x8xf32>) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// CHECK-LABEL: @row_of_zeros(
// CHECK: %[[NULL:.+]] = megactx.source %{{.+}}, %{{.+}} pattern(#megactx.pattern<dense>) everywhere : (tensor<?x1x1x8xf32>
// CHECK: megactx.attention %{{.+}}, %[[NULL]], %{{.+}} offset
// SPARSE-LABEL: @row_of_zeros(
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<dense>) everywhere
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<window<left = 3, right = 1>>) :
func.func @row_of_zeros(%x: !x) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %pads = onnx.initializer {value = dense<[0, 0, 1, 0, 0, 0, 0, 0]> : tensor<8xi64>} : tensor<8xi64>
  %q = onnx.MatMul %x, %w : (!x, !w) -> !x
  %own = onnx.MatMul %x, %w : (!x, !w) -> !x
  %k = onnx.Pad %own, %pads {mode = "constant"} : (!x, tensor<8xi64>) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}

// Keys behind those of all of the queries' own tokens (DeepSeek-V4's of blocks).
// CHECK-LABEL: @summaries_behind_tokens(
// CHECK: %[[BLOCKS:.+]] = megactx.source %[[E:.+]], %[[E]] pattern(#megactx.pattern<dense>) everywhere
// CHECK: %[[OWN:.+]] = megactx.source %[[K:.+]], %[[K]] pattern(#megactx.pattern<dense>) :
// CHECK: megactx.attention %{{.+}}, %[[BLOCKS]], %[[OWN]] offset
// SPARSE-LABEL: @summaries_behind_tokens(
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<dense>) everywhere
// SPARSE: megactx.source {{.*}} pattern(#megactx.pattern<window<left = 3, right = 1>>) :
func.func @summaries_behind_tokens(%x: !x {onnx.dims = ["b", "", "n", ""]}, %pooled: !x {onnx.dims = ["b", "", "m", ""]}) -> !x {
  %w = onnx.initializer {value = dense<0.5> : !w} : !w
  %q = onnx.MatMul %x, %w : (!x, !w) -> !x
  %own = onnx.MatMul %x, %w : (!x, !w) -> !x
  %blocks = onnx.MatMul %pooled, %w : (!x, !w) -> !x
  %k = onnx.Concat %own, %blocks {axis = 2 : i64} : (!x, !x) -> !x
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (!x) -> !kt
  %s = onnx.MatMul %q, %kt : (!x, !kt) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %k : (!p, !x) -> !x
  return %o : !x
}
