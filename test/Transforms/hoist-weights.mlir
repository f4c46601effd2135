// RUN: megactx-opt %s --megactx-hoist-weights=threshold=16 | FileCheck %s

// Equal constants are one weight; small ones stay.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %{{.+}}: tensor<4xf32>, %[[W:.+]]: tensor<4xf32> {megactx.weight = dense<{{.*}}> : tensor<4xf32>})
// CHECK: %[[SMALL:.+]] = arith.constant dense<5.0{{.*}}> : tensor<2xf32>
// CHECK: arith.addf %{{.+}}, %[[W]]
// CHECK: arith.addf %{{.+}}, %[[W]]
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<2xf32>) {
  %a = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %b = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %c = arith.constant dense<5.0> : tensor<2xf32>
  %0 = arith.addf %x, %a : tensor<4xf32>
  %1 = arith.addf %0, %b : tensor<4xf32>
  return %1, %c : tensor<4xf32>, tensor<2xf32>
}
