// RUN: megactx-opt %s | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --mlir-print-op-generic | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-attention-to-linalg | FileCheck %s --check-prefix=LINALG --implicit-check-not='= megactx.'

// Clusters are as many as batch rows, heads and centroids together; their members, no more than there are rows.
// CHECK-LABEL: @route
// CHECK: megactx.route %{{.+}}, %{{.+}} lengths(%{{.+}}) {window = 64 : i64} : (tensor<2x4x?x8xbf16>, tensor<4x16x8xbf16>, tensor<2xindex>) -> (tensor<128x?xindex>, tensor<128xindex>)
// CHECK: megactx.route %{{.+}}, %{{.+}} {window = 64 : i64} : (tensor<?x4x30x8xf32>, tensor<4x16x8xf32>) -> (tensor<?x30xindex>, tensor<?xindex>)
// LINALG-LABEL: @route
// LINALG: linalg.generic
// LINALG: arith.bitcast %{{.+}} : f32 to i32
// LINALG: scf.for
func.func @route(%x: tensor<2x4x?x8xbf16>, %c: tensor<4x16x8xbf16>, %n: tensor<2xindex>, %y: tensor<?x4x30x8xf32>, %d: tensor<4x16x8xf32>)
    -> (tensor<128x?xindex>, tensor<128xindex>, tensor<?x30xindex>, tensor<?xindex>) {
  %m, %k = megactx.route %x, %c lengths(%n) {window = 64} : (tensor<2x4x?x8xbf16>, tensor<4x16x8xbf16>, tensor<2xindex>) -> (tensor<128x?xindex>, tensor<128xindex>)
  %o, %l = megactx.route %y, %d {window = 64} : (tensor<?x4x30x8xf32>, tensor<4x16x8xf32>) -> (tensor<?x30xindex>, tensor<?xindex>)
  return %m, %k, %o, %l : tensor<128x?xindex>, tensor<128xindex>, tensor<?x30xindex>, tensor<?xindex>
}

// CHECK-LABEL: @gather_rows
// CHECK: megactx.gather_rows %{{.+}} at %{{.+}} : (tensor<2x4x?x8xf16>, tensor<128x?xindex>) -> tensor<128x1x?x8xf16>
// The checks stand before and outside of what they guard.
// LINALG-LABEL: @gather_rows
// LINALG: cf.assert %{{.+}}, "megactx.gather_rows: the clusters are not as many for each batch row and head"
// LINALG: cf.assert %{{.+}}, "megactx.gather_rows: a member is neither -1 nor one of the rows"
// LINALG: linalg.generic
func.func @gather_rows(%x: tensor<2x4x?x8xf16>, %m: tensor<128x?xindex>) -> tensor<128x1x?x8xf16> {
  %y = megactx.gather_rows %x at %m : (tensor<2x4x?x8xf16>, tensor<128x?xindex>) -> tensor<128x1x?x8xf16>
  return %y : tensor<128x1x?x8xf16>
}

// CHECK-LABEL: @scatter_mean
// CHECK: megactx.scatter_mean %{{.+}} at %{{.+}} outs(%{{.+}}) : (tensor<128x1x?x8xf16>, tensor<128x?xindex>, tensor<2x4x?x8xf16>) -> tensor<2x4x?x8xf16>
// LINALG-LABEL: @scatter_mean
// LINALG: cf.assert %{{.+}}, "megactx.scatter_mean: a member is neither -1 nor one of the rows"
// LINALG: scf.for
// LINALG: arith.divf %{{.+}} : f32
func.func @scatter_mean(%y: tensor<128x1x?x8xf16>, %m: tensor<128x?xindex>, %i: tensor<2x4x?x8xf16>) -> tensor<2x4x?x8xf16> {
  %x = megactx.scatter_mean %y at %m outs(%i) : (tensor<128x1x?x8xf16>, tensor<128x?xindex>, tensor<2x4x?x8xf16>) -> tensor<2x4x?x8xf16>
  return %x : tensor<2x4x?x8xf16>
}
