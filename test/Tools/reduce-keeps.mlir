// A reduction after which the fault is gone is not taken.
// RUN: megactx-reduce %s -opt-reduction-pass='opt-pass=symbol-dce test=%S/Inputs/interesting.sh' -o - | FileCheck %s

// CHECK: func.func private @unused
// CHECK: onnx.Mul
func.func private @unused(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = onnx.Mul %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
