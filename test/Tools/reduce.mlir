// Passes reduce a file as long as the script finds it interesting. Upstream's -reduction-tree crashes in MLIR 22.1.8,
// also in mlir-reduce; -opt-reduction-pass does not.
// RUN: megactx-reduce %s -opt-reduction-pass='opt-pass=cse test=%S/Inputs/interesting.sh' -o - | FileCheck %s

// CHECK-LABEL: @kept
// CHECK-NEXT: onnx.Mul
// CHECK-NEXT: return
func.func @kept(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = onnx.Mul %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = arith.addf %x, %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
