// RUN: megactx-opt %s | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --mlir-print-op-generic | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --megactx-bufferize-pipeline | FileCheck %s --check-prefix=MEMREF

// CHECK-LABEL: @four
// CHECK: megactx.packed_product %{{.+}}, %{{.+}}, %{{.+}} by %{{.+}}, %{{.+}} bits(4) outs(%{{.+}}) : (tensor<?x16x4xi32>, tensor<?x4xf32>, tensor<?x4xi32>, tensor<24x16xi32>, tensor<24x4xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
// MEMREF-LABEL: @four
// MEMREF-SAME: %{{[^,]*}}: memref<?x16x4xi32>, {{.*}}, %[[OUT:[^,]*]]: memref<?x24xf32>
// MEMREF: megactx.packed_product {{.*}} outs(%[[OUT]]) : {{.*}} -> ()
func.func @four(%x: tensor<?x16x4xi32>, %xs: tensor<?x4xf32>, %xt: tensor<?x4xi32>, %w: tensor<24x16xi32>, %s: tensor<24x4xf32>, %e: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %y = megactx.packed_product %x, %xs, %xt by %w, %s bits(4) outs(%e)
      : (tensor<?x16x4xi32>, tensor<?x4xf32>, tensor<?x4xi32>, tensor<24x16xi32>, tensor<24x4xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Two chains to a block.
// CHECK-LABEL: @eight
// CHECK: megactx.packed_product %{{.+}}, %{{.+}}, %{{.+}} by %{{.+}}, %{{.+}} zeros(%{{.+}}) bits(8) outs(%{{.+}}) : (memref<3x16x2xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<24x16xi32>, memref<24x2xf16>, memref<24x2xf32>, memref<3x24xf32>) -> ()
func.func @eight(%x: memref<3x16x2xi32>, %xs: memref<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<24x16xi32>, %s: memref<24x2xf16>, %z: memref<24x2xf32>, %y: memref<3x24xf32>) {
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(8) outs(%y)
      : (memref<3x16x2xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<24x16xi32>, memref<24x2xf16>, memref<24x2xf32>, memref<3x24xf32>) -> ()
  return
}
