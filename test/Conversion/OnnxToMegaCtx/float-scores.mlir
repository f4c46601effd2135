// RUN: megactx-opt %s --megactx-float-scores --split-input-file | FileCheck %s
// RUN: megactx-opt %s --megactx-float-scores --split-input-file -o /dev/null 2>&1 | FileCheck %s --check-prefix=WARNING
// RUN: megactx-opt %s --megactx-float-scores --megactx-raise-onnx-attention --split-input-file | FileCheck %s --check-prefix=RAISED
// RUN: megactx-opt %s --megactx-raise-onnx-attention --split-input-file -o /dev/null --remarks-filter=raise-onnx-attention 2>&1 | FileCheck %s --check-prefix=MISSED

!q = tensor<?x2x?x8xf32>
!kt = tensor<?x2x8x?xf32>
!p = tensor<?x2x?x?xf32>
!m = tensor<1x1x?x?xf32>
!b = tensor<?x2x?x?xi8>
!s = tensor<f32>
!z = tensor<i8>

// Between the products nothing is rounded: neither scores, nor the mask, nor
// probabilities. Operands are, as before, and so is the result.
// CHECK-LABEL: @attention
// CHECK-SAME: %[[Q:[^:]*]]: tensor<?x2x?x8xf32>, %[[K:[^:]*]]: tensor<?x2x8x?xf32>, %[[V:[^:]*]]: tensor<?x2x?x8xf32>, %[[M:[^:]*]]: tensor<1x1x?x?xf32>
// CHECK: %[[NARROW:.*]] = "onnx.QuantizeLinear"(%[[Q]]
// CHECK: %[[WIDE:.*]] = "onnx.DequantizeLinear"(%[[NARROW]]
// CHECK: %[[SCORES:.*]] = onnx.MatMul %[[WIDE]], %[[K]]
// CHECK-NEXT: %[[MASKED:.*]] = onnx.Add %[[SCORES]], %[[M]]
// CHECK-NEXT: %[[P:.*]] = onnx.Softmax %[[MASKED]]
// CHECK-NEXT: %[[OUT:.*]] = onnx.MatMul %[[P]], %[[V]]
// CHECK-NEXT: %[[RESULT:.*]] = "onnx.QuantizeLinear"(%[[OUT]]
// CHECK-NEXT: "onnx.DequantizeLinear"(%[[RESULT]]
// RAISED-LABEL: @attention
// RAISED: megactx.attention
// MISSED: Function=attention | {{.*}}is rounded, which --float-scores leaves out"
func.func @attention(%q: !q, %k: !kt, %v: !q, %m: !m) -> !q {
  %s = onnx.initializer {value = dense<0.5> : tensor<f32>} : !s
  %t = onnx.initializer {value = dense<0.25> : tensor<f32>} : !s
  %z = onnx.initializer {value = dense<0> : tensor<i8>} : !z
  %q8 = "onnx.QuantizeLinear"(%q, %s, %z) : (!q, !s, !z) -> tensor<?x2x?x8xi8>
  %qd = "onnx.DequantizeLinear"(%q8, %s, %z) : (tensor<?x2x?x8xi8>, !s, !z) -> !q
  %0 = onnx.MatMul %qd, %k : (!q, !kt) -> !p
  %1 = "onnx.QuantizeLinear"(%0, %s, %z) : (!p, !s, !z) -> !b
  %2 = "onnx.DequantizeLinear"(%1, %s, %z) : (!b, !s, !z) -> !p
  %m8 = "onnx.QuantizeLinear"(%m, %s, %z) : (!m, !s, !z) -> tensor<1x1x?x?xi8>
  %md = "onnx.DequantizeLinear"(%m8, %s, %z) : (tensor<1x1x?x?xi8>, !s, !z) -> !m
  %3 = onnx.Add %2, %md : (!p, !m) -> !p
  %4 = "onnx.QuantizeLinear"(%3, %t, %z) : (!p, !s, !z) -> !b
  %5 = "onnx.DequantizeLinear"(%4, %t, %z) : (!b, !s, !z) -> !p
  %6 = onnx.Softmax %5 {axis = -1 : i64} : (!p) -> !p
  %7 = "onnx.QuantizeLinear"(%6, %t, %z) : (!p, !s, !z) -> !b
  %8 = "onnx.DequantizeLinear"(%7, %t, %z) : (!b, !s, !z) -> !p
  %9 = onnx.MatMul %8, %v : (!p, !q) -> !q
  %10 = "onnx.QuantizeLinear"(%9, %s, %z) : (!q, !s, !z) -> tensor<?x2x?x8xi8>
  %11 = "onnx.DequantizeLinear"(%10, %s, %z) : (tensor<?x2x?x8xi8>, !s, !z) -> !q
  return %11 : !q
}

// A softmax that multiplies nothing is no attention, and what is widened by
// another scale is no rounding.
// CHECK-LABEL: @others
// CHECK-COUNT-2: "onnx.DequantizeLinear"
// WARNING-NOT: warning
func.func @others(%q: !q, %k: !kt, %v: !q) -> (!p, !q) {
  %s = onnx.initializer {value = dense<0.5> : tensor<f32>} : !s
  %t = onnx.initializer {value = dense<0.25> : tensor<f32>} : !s
  %z = onnx.initializer {value = dense<0> : tensor<i8>} : !z
  %0 = onnx.MatMul %q, %k : (!q, !kt) -> !p
  %1 = "onnx.QuantizeLinear"(%0, %s, %z) : (!p, !s, !z) -> !b
  %2 = "onnx.DequantizeLinear"(%1, %s, %z) : (!b, !s, !z) -> !p
  %3 = onnx.Softmax %2 {axis = -1 : i64} : (!p) -> !p
  %4 = "onnx.DequantizeLinear"(%1, %t, %z) : (!b, !s, !z) -> !p
  %5 = onnx.Softmax %4 {axis = -1 : i64} : (!p) -> !p
  %6 = onnx.MatMul %5, %v : (!p, !q) -> !q
  return %3, %6 : !p, !q
}

// Rounding keeps sizes: there are as many queries as the mask has rows, and as
// many keys.
// RAISED-LABEL: @causal
// RAISED: megactx.source {{.*}} pattern(#megactx.pattern<causal>)
func.func @causal(%x: !q) -> !q {
  %s = onnx.initializer {value = dense<0.5> : tensor<f32>} : !s
  %z = onnx.initializer {value = dense<0> : tensor<i8>} : !z
  %x8 = "onnx.QuantizeLinear"(%x, %s, %z) : (!q, !s, !z) -> tensor<?x2x?x8xi8>
  %q = "onnx.DequantizeLinear"(%x8, %s, %z) : (tensor<?x2x?x8xi8>, !s, !z) -> !q
  %t = "onnx.DequantizeLinear"(%x8, %s, %z) : (tensor<?x2x?x8xi8>, !s, !z) -> !q
  %k = onnx.Transpose %t {perm = array<i64: 0, 1, 3, 2>} : (!q) -> !kt
  %shape = onnx.Shape %q : (!q) -> tensor<4xi64>
  %two = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %n = onnx.Gather %shape, %two {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %one = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %range = onnx.Range %zero, %n, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %last = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %rows = onnx.Unsqueeze %range, %last : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %sees = onnx.LessOrEqual %range, %rows : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %add = onnx.initializer {value = dense<0.0> : tensor<f32>} : !s
  %low = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : !s
  %mask = onnx.Where %sees, %add, %low : (tensor<?x?xi1>, !s, !s) -> tensor<?x?xf32>
  %0 = onnx.MatMul %q, %k : (!q, !kt) -> !p
  %1 = "onnx.QuantizeLinear"(%0, %s, %z) : (!p, !s, !z) -> !b
  %2 = "onnx.DequantizeLinear"(%1, %s, %z) : (!b, !s, !z) -> !p
  %3 = onnx.Add %2, %mask : (!p, tensor<?x?xf32>) -> !p
  %4 = onnx.Softmax %3 {axis = -1 : i64} : (!p) -> !p
  %5 = "onnx.QuantizeLinear"(%4, %s, %z) : (!p, !s, !z) -> !b
  %6 = "onnx.DequantizeLinear"(%5, %s, %z) : (!b, !s, !z) -> !p
  %7 = onnx.MatMul %6, %q : (!p, !q) -> !q
  return %7 : !q
}

// -----

!q = tensor<?x2x?x8xf32>
!p = tensor<?x2x?x?xf32>

// WARNING: warning: no scores or probabilities of attention are rounded: float-scores changes nothing
func.func @nothing(%q: !q, %kt: tensor<?x2x8x?xf32>, %v: !q) -> !q {
  %s = onnx.MatMul %q, %kt : (!q, tensor<?x2x8x?xf32>) -> !p
  %p = onnx.Softmax %s {axis = -1 : i64} : (!p) -> !p
  %o = onnx.MatMul %p, %v : (!p, !q) -> !q
  return %o : !q
}
