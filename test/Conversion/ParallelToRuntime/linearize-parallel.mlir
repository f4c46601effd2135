// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-linearize-parallel{grain=64},canonicalize))' | FileCheck %s

// Chunks of rows: ceil(64 / width) of them.
// CHECK-LABEL: @two_dims
// CHECK-SAME: %[[M:.*]]: index, %[[N:.*]]: index
// CHECK-DAG: %[[C64:.*]] = arith.constant 64 : index
// CHECK: %[[W:.*]] = arith.maxsi %[[N]], %c1
// CHECK: %[[CHUNK:.*]] = arith.ceildivsi %[[C64]], %[[W]]
// CHECK: %[[COUNT:.*]] = arith.ceildivsi %[[M]], %[[CHUNK]]
// CHECK: scf.parallel (%[[T:.*]]) = (%c0) to (%[[COUNT]]) step (%c1)
// CHECK: %[[FIRST:.*]] = arith.muli %[[T]], %[[CHUNK]]
// CHECK: %[[END:.*]] = arith.addi %[[FIRST]], %[[CHUNK]]
// CHECK: %[[LAST:.*]] = arith.minsi %[[END]], %[[M]]
// CHECK: scf.for %[[I:.*]] = %[[FIRST]] to %[[LAST]]
// CHECK: scf.for %[[J:.*]] = %c0 to %[[N]]
// CHECK: memref.store %{{.*}}, %{{.*}}[%[[I]], %[[J]]]
func.func @two_dims(%m: index, %n: index, %a: memref<?x?xf32>, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i, %j) = (%c0, %c0) to (%m, %n) step (%c1, %c1) {
    memref.store %v, %a[%i, %j] : memref<?x?xf32>
  }
  return
}

// CHECK-LABEL: @three_dims_have_two_in_the_row
// CHECK-SAME: %[[B:.*]]: index, %[[M:.*]]: index
// CHECK: %[[ROWS:.*]] = arith.muli %[[B]], %[[M]]
// CHECK: scf.for %[[R:.*]] =
// CHECK-DAG: %[[I:.*]] = arith.remui %[[R]], %[[M]]
// CHECK-DAG: %[[O:.*]] = arith.divui %[[R]], %[[M]]
// CHECK: memref.store %{{.*}}, %{{.*}}[%[[O]], %[[I]], %{{.*}}]
func.func @three_dims_have_two_in_the_row(%b: index, %m: index, %a: memref<?x?x8xf32>, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  scf.parallel (%i, %j, %k) = (%c0, %c0, %c0) to (%b, %m, %c8) step (%c1, %c1, %c1) {
    memref.store %v, %a[%i, %j, %k] : memref<?x?x8xf32>
  }
  return
}

// CHECK-LABEL: @one_dim
// CHECK: scf.parallel
// CHECK-NEXT: arith.muli
// CHECK: scf.for
// CHECK-NOT: scf.for
// CHECK: return
func.func @one_dim(%n: index, %a: memref<?xf32>, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %v, %a[%i] : memref<?xf32>
  }
  return
}

// A loop that does not start at 0 is left.
// CHECK-LABEL: @other_start
// CHECK: scf.parallel (%{{.*}}) = (%{{.*}}) to (%{{.*}}) step (%c1)
// CHECK-NOT: scf.for
func.func @other_start(%s: index, %n: index, %a: memref<?xf32>, %v: f32) {
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%s) to (%n) step (%c1) {
    memref.store %v, %a[%i] : memref<?xf32>
  }
  return
}
