// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-host-loops-to-gpu))' --split-input-file | FileCheck %s

// Iterations keep to their own rows of what they store to: a block for each.
// CHECK-LABEL: @own_rows
// CHECK-SAME: %[[A:[^,]*]]: memref<?x?xi64>, %[[B:[^,]*]]: memref<?x?xi64>, %[[N:[^,]*]]: index, %[[M:.*]]: index)
// CHECK: %[[COUNT:.*]] = arith.subi %[[N]], %c0
// CHECK: %[[STEPS:.*]] = arith.ceildivsi %[[COUNT]], %c1
// CHECK: %[[BLOCKS:.*]] = arith.maxsi %[[STEPS]], %{{.*}}
// CHECK: gpu.launch blocks(%[[BLOCK:.*]], %{{.*}}, %{{.*}}) in (%{{.*}} = %[[BLOCKS]], {{.*}} threads(%[[T:.*]], %{{.*}}, %{{.*}}) in (%{{.*}} = %c32
// CHECK:   %[[FIRST:.*]] = arith.cmpi eq, %[[T]]
// CHECK:   scf.if %[[FIRST]]
// CHECK:     %[[AT:.*]] = arith.muli %[[BLOCK]], %c1
// CHECK:     %[[ROW:.*]] = arith.addi %c0{{.*}}, %[[AT]]
// CHECK:     scf.for
// CHECK:       memref.load %[[A]][%[[ROW]],
// CHECK:       memref.store %{{.*}}, %[[B]][%[[ROW]],
// CHECK-NOT: memref.store
// CHECK: return
func.func @own_rows(%a: memref<?x?xi64>, %b: memref<?x?xi64>, %n: index, %m: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    scf.for %j = %c1 to %m step %c1 {
      %before = arith.subi %j, %c1 : index
      %x = memref.load %a[%i, %j] : memref<?x?xi64>
      %y = memref.load %b[%i, %before] : memref<?x?xi64>
      %z = arith.addi %x, %y : i64
      memref.store %z, %b[%i, %j] : memref<?x?xi64>
    }
  }
  return
}

// -----

// A row before is read, and a number is carried: one thread does it all, and leaves the number in memory.
// CHECK-LABEL: @rows_that_depend
// CHECK: %[[PLACE:.*]] = memref.alloc() : memref<i64>
// CHECK: gpu.launch blocks({{.*}}) in (%{{.*}} = %[[ONE:.*]], %{{.*}} = %{{.*}}, %{{.*}} = %{{.*}})
// CHECK:   scf.if
// CHECK:     %[[SUM:.*]] = scf.for
// CHECK:     memref.store %[[SUM]], %[[PLACE]][]
// CHECK: %[[RESULT:.*]] = memref.load %[[PLACE]][]
// CHECK: memref.dealloc %[[PLACE]]
// CHECK: return %[[RESULT]]
func.func @rows_that_depend(%a: memref<?xi64>, %n: index) -> i64 {
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0 : i64
  %sum = scf.for %i = %c1 to %n step %c1 iter_args(%so = %zero) -> i64 {
    %before = arith.subi %i, %c1 : index
    %x = memref.load %a[%before] : memref<?xi64>
    memref.store %x, %a[%i] : memref<?xi64>
    %next = arith.addi %so, %x : i64
    scf.yield %next : i64
  }
  return %sum : i64
}

// -----

// Arithmetic alone, and loops that do more than that, stay with the host.
// CHECK-LABEL: @hosts_own
// CHECK-NOT: gpu.launch
// CHECK: return
func.func private @f()
func.func @hosts_own(%a: memref<?xi64>, %n: index) -> index {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%so = %c0) -> index {
    %next = arith.addi %so, %i : index
    scf.yield %next : index
  }
  scf.for %i = %c0 to %n step %c1 {
    %x = memref.load %a[%i] : memref<?xi64>
    memref.store %x, %a[%c0] : memref<?xi64>
    func.call @f() : () -> ()
  }
  return %r : index
}

// -----

// What an iteration before has written is read: one thread runs the loop.
// CHECK-LABEL: @row_before
// CHECK: gpu.launch
// CHECK: scf.if
// CHECK: scf.for
// CHECK: memref.load
// CHECK: memref.store
func.func @row_before(%a: memref<?xi64>, %n: index) {
  %c1 = arith.constant 1 : index
  scf.for %i = %c1 to %n step %c1 {
    %before = arith.subi %i, %c1 : index
    %x = memref.load %a[%before] : memref<?xi64>
    memref.store %x, %a[%i] : memref<?xi64>
  }
  return
}
