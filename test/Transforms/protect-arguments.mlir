// RUN: megactx-opt %s --megactx-protect-arguments | FileCheck %s

// A weight, and an input that an op takes as its destination, also through a
// view or what a loop carries; one that is only read may stay as it is, and so
// may one that a result updates.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<4xf32> {bufferization.writable = false, megactx.weight
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<4xf32> {bufferization.writable = false}
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<8xf32> {bufferization.writable = false}
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<4xf32> {bufferization.writable = false}
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<4xf32>,
// CHECK-SAME: %{{[a-z0-9]+}}: index,
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<4xf32>)
func.func @main(%weight: tensor<4xf32> {megactx.weight = dense<1.0> : tensor<4xf32>},
    %filled: tensor<4xf32>, %sliced: tensor<8xf32>, %carried: tensor<4xf32>, %read: tensor<4xf32>,
    %n: index, %updated: tensor<4xf32>)
    -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, f32, tensor<4xf32> {megactx.updates = 6 : i64}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %0 = linalg.fill ins(%zero : f32) outs(%filled : tensor<4xf32>) -> tensor<4xf32>
  %part = tensor.extract_slice %sliced[0] [4] [1] : tensor<8xf32> to tensor<4xf32>
  %1 = linalg.copy ins(%weight : tensor<4xf32>) outs(%part : tensor<4xf32>) -> tensor<4xf32>
  %2 = scf.for %i = %c0 to %n step %c1 iter_args(%all = %carried) -> tensor<4xf32> {
    %next = linalg.copy ins(%read : tensor<4xf32>) outs(%all : tensor<4xf32>) -> tensor<4xf32>
    scf.yield %next : tensor<4xf32>
  }
  %element = tensor.extract %read[%c0] : tensor<4xf32>
  %3 = linalg.fill ins(%zero : f32) outs(%updated : tensor<4xf32>) -> tensor<4xf32>
  return %0, %1, %2, %read, %element, %3 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, f32, tensor<4xf32>
}

// Other functions are not called with what belongs to others.
// CHECK-LABEL: func.func @helper
// CHECK-SAME: (%{{.+}}: tensor<4xf32>, %{{.+}}: f32)
func.func @helper(%x: tensor<4xf32>, %y: f32) -> tensor<4xf32> {
  %0 = linalg.fill ins(%y : f32) outs(%x : tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
