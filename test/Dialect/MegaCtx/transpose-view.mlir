// RUN: megactx-opt %s --resolve-ranked-shaped-type-result-dims --canonicalize | FileCheck %s

// CHECK-LABEL: @there_and_back
// CHECK-NEXT: return %arg0
func.func @there_and_back(%x: tensor<1x?x2x8xf32>) -> tensor<1x?x2x8xf32> {
  %0 = megactx.transpose_view %x permutation = [0, 2, 1, 3] : tensor<1x?x2x8xf32> to tensor<1x2x?x8xf32>
  %1 = megactx.transpose_view %0 permutation = [0, 2, 1, 3] : tensor<1x2x?x8xf32> to tensor<1x?x2x8xf32>
  return %1 : tensor<1x?x2x8xf32>
}

// CHECK-LABEL: @one_after_the_other
// CHECK-NEXT: megactx.transpose_view %arg0 permutation = [2, 1, 0] : tensor<2x3x4xf32> to tensor<4x3x2xf32>
func.func @one_after_the_other(%x: tensor<2x3x4xf32>) -> tensor<4x3x2xf32> {
  %0 = megactx.transpose_view %x permutation = [1, 2, 0] : tensor<2x3x4xf32> to tensor<3x4x2xf32>
  %1 = megactx.transpose_view %0 permutation = [1, 0, 2] : tensor<3x4x2xf32> to tensor<4x3x2xf32>
  return %1 : tensor<4x3x2xf32>
}

// CHECK-LABEL: @size
// CHECK-NEXT: %[[ONE:.*]] = arith.constant 1
// CHECK-NEXT: %[[D:.*]] = tensor.dim %arg0, %[[ONE]]
// CHECK-NEXT: return %[[D]]
func.func @size(%x: tensor<1x?x2x8xf32>) -> index {
  %c2 = arith.constant 2 : index
  %0 = megactx.transpose_view %x permutation = [0, 2, 1, 3] : tensor<1x?x2x8xf32> to tensor<1x2x?x8xf32>
  %d = tensor.dim %0, %c2 : tensor<1x2x?x8xf32>
  return %d : index
}
