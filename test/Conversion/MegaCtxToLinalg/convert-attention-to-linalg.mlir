// RUN: megactx-opt %s --megactx-convert-attention-to-linalg --canonicalize --cse | FileCheck %s

!q = tensor<1x4x?x8xbf16>
!k = tensor<1x2x?x8xbf16>
!acc = tensor<1x4x?x8xf32>
!row = tensor<1x4x?xf32>

// CHECK-LABEL: @link
// CHECK-SAME: %[[Q:.+]]: tensor<1x4x?x8xbf16>, %[[K:.+]]: tensor<1x2x?x8xbf16>, %[[V:.+]]: tensor<1x2x?x8xbf16>, %[[P:.+]]: index, %[[ACC:.+]]: tensor<1x4x?x8xf32>, %[[MAX:.+]]: tensor<1x4x?xf32>, %[[SUM:.+]]: tensor<1x4x?xf32>
// Two query heads share a key head.
// CHECK: %[[K4:.+]] = linalg.generic
// CHECK:   %[[H:.+]] = linalg.index 1
// CHECK:   %[[KH:.+]] = arith.divui %[[H]], %{{c2.*}}
// CHECK:   tensor.extract %[[K]][%{{.+}}, %[[KH]], %{{.+}}, %{{.+}}]
// Products in f32.
// CHECK: %[[S:.+]] = linalg.generic {{.*}} ins(%[[Q]], %[[K4]]
// CHECK:   arith.extf
// CHECK:   arith.extf
// CHECK:   arith.mulf
// The piece, per element: k < p + 1, p = row + offset.
// CHECK: %[[M:.+]] = linalg.generic {{.*}} outs(%[[S]]
// CHECK-DAG: %[[ROW:.+]] = linalg.index 2
// CHECK-DAG: %[[KEY:.+]] = linalg.index 3
// CHECK:   %[[POS:.+]] = arith.addi %[[ROW]], %[[P]]
// CHECK:   %[[END:.+]] = arith.addi %[[POS]], %c1
// CHECK:   arith.cmpi slt, %[[KEY]], %[[END]]
// CHECK:   arith.mulf %{{.+}}, %{{.+}}
// CHECK:   arith.select
// CHECK: %[[MAX1:.+]] = linalg.generic {{.*}} ins(%[[M]] {{.*}} outs(%[[MAX]]
// CHECK:   arith.maximumf
// CHECK: %[[W:.+]] = linalg.generic {{.*}} ins(%[[MAX1]] {{.*}} outs(%[[M]]
// CHECK:   math.exp
// CHECK: %[[SUM1:.+]] = linalg.generic {{.*}} outs(%[[SUM]]
// CHECK: %[[SUM2:.+]] = linalg.generic {{.*}} ins(%[[W]] {{.*}} outs(%[[SUM1]]
// CHECK: %[[ACC1:.+]] = linalg.generic {{.*}} outs(%[[ACC]]
// CHECK: %[[ACC2:.+]] = linalg.generic {{.*}} ins(%[[W]], %{{.+}} outs(%[[ACC1]]
// CHECK: return %[[ACC2]], %[[MAX1]], %[[SUM2]]
func.func @link(%q: !q, %k: !k, %v: !k, %p: index, %acc: !acc, %max: !row, %sum: !row) -> (!acc, !row, !row) {
  %l:3 = megactx.online_attention %q, %k, %v query_offset(%p) outs(%acc, %max, %sum) #megactx.piece<hi<p + 1>> {scale = 0.5 : f32}
      : (!q, !k, !k, index, !acc, !row, !row) -> (!acc, !row, !row)
  return %l#0, %l#1, %l#2 : !acc, !row, !row
}

// CHECK-LABEL: @residues_are_tables
// CHECK-DAG: arith.constant dense<[1, 2, 0]> : tensor<3xi64>
// CHECK: linalg.generic
// CHECK: tensor.extract %{{.+}} : tensor<3xi64>
func.func @residues_are_tables(%q: !acc, %max: !row) -> !acc {
  %l:3 = megactx.online_attention %q, %q, %q outs(%q, %max, %max) #megactx.piece<digits<3, [0]: [0], [1]: [1,2]>> {scale = 0.5 : f32}
      : (!acc, !acc, !acc, !acc, !row, !row) -> (!acc, !row, !row)
  return %l#0 : !acc
}

// CHECK-LABEL: @finish
// CHECK: %[[OUT:.+]] = linalg.generic
// CHECK:   arith.divf
// CHECK:   arith.truncf {{.*}} to bf16
// CHECK: %[[LSE:.+]] = linalg.generic
// CHECK:   math.log
// CHECK: return %[[OUT]], %[[LSE]]
func.func @finish(%acc: !acc, %max: !row, %sum: !row, %out: !q, %lse: !row) -> (!q, !row) {
  %o:2 = megactx.finish_attention %acc, %max, %sum outs(%out, %lse) : (!acc, !row, !row, !q, !row) -> (!q, !row)
  return %o#0, %o#1 : !q, !row
}
