// RUN: megactx-opt %s --megactx-convert-onnx-to-linalg | FileCheck %s

// Equal checks of two nodes: each message names its own.
// CHECK-LABEL: @nodes_have_names
// CHECK: cf.assert {{.*}}, "node 'encoder/Gather_3' (Gather): an index of Gather is out of range"
// CHECK: cf.assert {{.*}}, "node 'encoder/Gather_4' (Gather): an index of Gather is out of range"
// CHECK: cf.assert {{.*}}, "node 'Gather': an index of Gather is out of range"
// CHECK: cf.assert {{.*}}, "an index of Gather is out of range"
!t = tensor<3x4xf32>
!i = tensor<2xi64>
!o = tensor<2x4xf32>
module attributes {onnx.model} {
func.func @nodes_have_names(%x: !t, %i: !i) -> (!o, !o, !o, !o) {
  %0 = "onnx.Gather"(%x, %i) : (!t, !i) -> !o loc("encoder/Gather_3"("Gather"("model.onnx":0:0)))
  %1 = "onnx.Gather"(%x, %i) : (!t, !i) -> !o loc("encoder/Gather_4"("Gather"("model.onnx":0:0)))
  %2 = "onnx.Gather"(%x, %i) : (!t, !i) -> !o loc("Gather"("model.onnx":0:0))
  %3 = "onnx.Gather"(%x, %i) : (!t, !i) -> !o
  return %0, %1, %2, %3 : !o, !o, !o, !o
}
}
