// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-tasks{grain=1024}))' | FileCheck %s

// The operand lies along rows of the result: 16 of them are taken together, of at most 64 elements each.
// CHECK-LABEL: @transpose
// CHECK-SAME: %[[X:.*]]: memref<?x?xf32>, %[[Y:.*]]: memref<?x?xf32>
// CHECK: %[[ROWS:.*]] = memref.dim %[[X]], %c1
// CHECK: arith.ceildivsi %[[ROWS]], %c16
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK: %[[FIRST:.*]] = arith.muli %{{.*}}, %c16{{.*}} : index
// CHECK: %[[NEXT:.*]] = arith.addi %[[FIRST]], %c16
// CHECK: %[[LAST:.*]] = arith.minsi %[[NEXT]], %[[ROWS]]
// CHECK: scf.for %[[COLUMN:.*]] =
// CHECK: scf.for %[[ROW:.*]] = %[[FIRST]] to %[[LAST]]
// CHECK: %[[E:.*]] = memref.load %[[X]][%[[COLUMN]], %[[ROW]]]
// CHECK: memref.store %[[E]], %[[Y]][%[[ROW]], %[[COLUMN]]]
func.func @transpose(%x: memref<?x?xf32>, %y: memref<?x?xf32>) {
  linalg.transpose ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) permutation = [1, 0]
  return
}

// Rows stay rows where nothing lies across them: heads change places with positions.
// CHECK-LABEL: @heads
// CHECK: scf.parallel
// CHECK-COUNT-2: scf.for
// CHECK-NOT: scf.for
// CHECK: return
func.func @heads(%x: memref<?x?x64xf32>, %y: memref<?x?x64xf32>) {
  linalg.transpose ins(%x : memref<?x?x64xf32>) outs(%y : memref<?x?x64xf32>) permutation = [1, 0, 2]
  return
}
