// Products of weights alone are computed when a model is compiled, for whatever target.
// RUN: megactx-compile %s --compile-to=linalg -o - 2>%t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=PROGRESS < %t.err
// RUN: megactx-compile %s --target=sm_80 --compile-to=pieces -o - 2>/dev/null | FileCheck %s --check-prefix=PIECES

// CHECK-NOT: @weight_products
// CHECK-LABEL: func.func @main
// CHECK: %[[PRODUCT:.*]] = arith.constant dense<{{.*}}[1.900000e+01, 2.200000e+01], [4.300000e+01, 5.000000e+01]{{.*}}> : tensor<1x2x2xf32>
// CHECK-NOT: arith.constant dense
// CHECK: %{{.*}} = linalg.generic {{.*}} ins(%{{.*}}, %[[PRODUCT]] :
// CHECK-NOT: linalg.generic
// CHECK: return
// PROGRESS: products of weights, computed
// PIECES-NOT: weight_products
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %a = "onnx.Constant"() {value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  %b = "onnx.Constant"() {value = dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  %product = "onnx.MatMul"(%a, %b) : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %y = "onnx.MatMul"(%x, %product) : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
