// RUN: megactx-opt %s --megactx-outline-computed-weights=threshold=0 --split-input-file | FileCheck %s
// RUN: megactx-opt %s --megactx-outline-computed-weights --split-input-file | FileCheck %s --check-prefix=SMALL

// What reads little is not worth a compilation.
// SMALL-NOT: @computed_weights

// A layer of weights alone, with what comes before and after it.
// CHECK-LABEL: func.func private @computed_weights() -> tensor<4x8xf32>
// CHECK: %[[SCALED:.*]] = linalg.mul
// CHECK: %[[PRODUCT:.*]] = linalg.matmul ins(%[[SCALED]],
// CHECK: %[[SUM:.*]] = linalg.add ins(%[[PRODUCT]],
// CHECK: return %[[SUM]]
// CHECK-LABEL: func.func @main
// CHECK: %[[GIVEN:.*]] = call @computed_weights() : () -> tensor<4x8xf32>
// CHECK-NOT: linalg.mul
// CHECK: linalg.matmul ins(%{{.*}}, %[[GIVEN]] :
// CHECK-NOT: linalg.
// CHECK: return
func.func @main(%x: tensor<?x4xf32>, %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %zero = arith.constant 0.0 : f32
  %a = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], [1.0, 0.0, 1.0]]> : tensor<4x3xf32>
  %b = arith.constant dense<2.0> : tensor<3x8xf32>
  %c = arith.constant dense<3.0> : tensor<4x8xf32>
  %like_a = tensor.empty() : tensor<4x3xf32>
  %scaled = linalg.mul ins(%a, %a : tensor<4x3xf32>, tensor<4x3xf32>) outs(%like_a : tensor<4x3xf32>) -> tensor<4x3xf32>
  %empty = tensor.empty() : tensor<4x8xf32>
  %none = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x8xf32>) -> tensor<4x8xf32>
  %product = linalg.matmul ins(%scaled, %b : tensor<4x3xf32>, tensor<3x8xf32>) outs(%none : tensor<4x8xf32>) -> tensor<4x8xf32>
  %sum = linalg.add ins(%product, %c : tensor<4x8xf32>, tensor<4x8xf32>) outs(%empty : tensor<4x8xf32>) -> tensor<4x8xf32>
  %y = linalg.matmul ins(%x, %sum : tensor<?x4xf32>, tensor<4x8xf32>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// What repeats a product stays: a file would hold it many times.
// CHECK-LABEL: func.func private @computed_weights() -> tensor<4x4xf32>
// CHECK: linalg.matmul
// CHECK-NOT: linalg.broadcast
// CHECK: return
// CHECK-LABEL: func.func @main
// CHECK: %[[GIVEN:.*]] = call @computed_weights()
// CHECK: linalg.broadcast ins(%[[GIVEN]] :
// CHECK: tensor.collapse_shape
func.func @main() -> tensor<400x4xf32> {
  %a = arith.constant dense<1.5> : tensor<4x4xf32>
  %empty = tensor.empty() : tensor<4x4xf32>
  %product = linalg.matmul ins(%a, %a : tensor<4x4xf32>, tensor<4x4xf32>) outs(%empty : tensor<4x4xf32>) -> tensor<4x4xf32>
  %many = tensor.empty() : tensor<100x4x4xf32>
  %repeated = linalg.broadcast ins(%product : tensor<4x4xf32>) outs(%many : tensor<100x4x4xf32>) dimensions = [0]
  %rows = tensor.collapse_shape %repeated [[0, 1], [2]] : tensor<100x4x4xf32> into tensor<400x4xf32>
  return %rows : tensor<400x4xf32>
}

// -----

// Weights with an update of low rank are one weight.
// CHECK-LABEL: func.func private @computed_weights() -> tensor<64x64xf32>
// CHECK: linalg.matmul
// CHECK: linalg.add
// CHECK-LABEL: func.func @main() -> tensor<64x64xf32>
// CHECK: call @computed_weights
func.func @main() -> tensor<64x64xf32> {
  %w = arith.constant dense<0.5> : tensor<64x64xf32>
  %a = arith.constant dense<1.5> : tensor<64x2xf32>
  %b = arith.constant dense<2.5> : tensor<2x64xf32>
  %empty = tensor.empty() : tensor<64x64xf32>
  %update = linalg.matmul ins(%a, %b : tensor<64x2xf32>, tensor<2x64xf32>) outs(%empty : tensor<64x64xf32>) -> tensor<64x64xf32>
  %sum = linalg.add ins(%w, %update : tensor<64x64xf32>, tensor<64x64xf32>) outs(%empty : tensor<64x64xf32>) -> tensor<64x64xf32>
  return %sum : tensor<64x64xf32>
}

// -----

// Larger than its factors: angles of a static number of positions, say.
// CHECK-NOT: @computed_weights
// CHECK-LABEL: func.func @main() -> tensor<64x64xf32>
// CHECK-NOT: @computed_weights
func.func @main() -> tensor<64x64xf32> {
  %a = arith.constant dense<1.5> : tensor<64x1xf32>
  %b = arith.constant dense<1.5> : tensor<1x64xf32>
  %empty = tensor.empty() : tensor<64x64xf32>
  %product = linalg.matmul ins(%a, %b : tensor<64x1xf32>, tensor<1x64xf32>) outs(%empty : tensor<64x64xf32>) -> tensor<64x64xf32>
  return %product : tensor<64x64xf32>
}

// -----

// What comes in, in whatever region, and views of weights are left.
// CHECK-LABEL: func.func private @computed_weights() -> tensor<4x4xf32>
// CHECK: linalg.mul
// CHECK-NOT: linalg.
// CHECK-LABEL: func.func @main(
// CHECK: %[[GIVEN:.*]] = call @computed_weights
// CHECK: tensor.expand_shape
// CHECK: scf.for
// CHECK: linalg.matmul ins(%{{.*}}, %[[GIVEN]] :
func.func @main(%x: tensor<4x4xf32>, %n: index) -> (tensor<4x4xf32>, tensor<2x2x4xf32>) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %a = arith.constant dense<1.5> : tensor<4x4xf32>
  %view = tensor.expand_shape %a [[0, 1], [2]] output_shape [2, 2, 4] : tensor<4x4xf32> into tensor<2x2x4xf32>
  %empty = tensor.empty() : tensor<4x4xf32>
  %squares = linalg.mul ins(%a, %a : tensor<4x4xf32>, tensor<4x4xf32>) outs(%empty : tensor<4x4xf32>) -> tensor<4x4xf32>
  %power = scf.for %i = %zero to %n step %one iter_args(%p = %x) -> tensor<4x4xf32> {
    %next = linalg.matmul ins(%x, %squares : tensor<4x4xf32>, tensor<4x4xf32>) outs(%p : tensor<4x4xf32>) -> tensor<4x4xf32>
    scf.yield %next : tensor<4x4xf32>
  }
  return %power, %view : tensor<4x4xf32>, tensor<2x2x4xf32>
}
