// RUN: megactx-opt %s --megactx-convert-scf-to-cf --split-input-file --verify-diagnostics | FileCheck %s --implicit-check-not=scf.

// Loops in a row, one in a choice, and what a loop carries.
// CHECK-LABEL: @nested
// CHECK: cf.br ^[[FIRST:.*]](%{{.*}}, %{{.*}} : index, f32)
// CHECK: ^[[FIRST]](%{{.*}}: index, %[[SUM:.*]]: f32):
// CHECK: cf.cond_br
// CHECK: cf.cond_br %arg1
// CHECK: memref.store
// CHECK: memref.store %[[SUM]]
func.func @nested(%x: memref<?xf32>, %c: i1) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %n = memref.dim %x, %zero : memref<?xf32>
  %first = arith.constant 0.0 : f32
  %sum = scf.for %i = %zero to %n step %one iter_args(%s = %first) -> f32 {
    %v = memref.load %x[%i] : memref<?xf32>
    %next = arith.addf %s, %v : f32
    scf.yield %next : f32
  }
  scf.if %c {
    scf.for %i = %zero to %n step %one {
      memref.store %first, %x[%i] : memref<?xf32>
    }
  }
  memref.store %sum, %x[%zero] : memref<?xf32>
  return
}

// -----

// A parallel loop becomes a loop, and that branches.
// CHECK-LABEL: @parallel
// CHECK: cf.cond_br
// CHECK: memref.store
func.func @parallel(%x: memref<?xf32>) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %n = memref.dim %x, %zero : memref<?xf32>
  %v = arith.constant 0.0 : f32
  scf.parallel (%i) = (%zero) to (%n) step (%one) {
    memref.store %v, %x[%i] : memref<?xf32>
  }
  return
}

// -----

// Results that are tensors are another level's.
func.func @shared(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{'scf.forall' op cannot become branches}}
  %y = scf.forall (%i) in (4) shared_outs(%out = %x) -> tensor<4xf32> {
    scf.forall.in_parallel {
    }
  }
  return %y : tensor<4xf32>
}
