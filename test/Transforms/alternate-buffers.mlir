// RUN: megactx-opt %s --megactx-alternate-buffers --allow-unregistered-dialect --split-input-file | FileCheck %s

// CHECK-LABEL: @start_is_used_no_more
// CHECK: %[[A:.*]] = memref.alloc(%[[M:.*]]) : memref<?xf32>
// CHECK: %[[B:.*]] = memref.alloc(%[[M]]) : memref<?xf32>
// CHECK: %[[R:.*]]:2 = scf.for {{.*}} iter_args(%[[X:.*]] = %[[A]], %[[Y:.*]] = %[[B]])
// CHECK-NEXT: "test.step"(%[[X]], %[[Y]])
// CHECK-NEXT: scf.yield %[[Y]], %[[X]]
// CHECK: "test.use"(%[[R]]#0)
func.func @start_is_used_no_more(%n: index, %m: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc(%m) : memref<?xf32>
  "test.use"(%a) : (memref<?xf32>) -> ()
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a) -> (memref<?xf32>) {
    %y = memref.alloc(%m) : memref<?xf32>
    "test.step"(%x, %y) : (memref<?xf32>, memref<?xf32>) -> ()
    scf.yield %y : memref<?xf32>
  }
  "test.use"(%r) : (memref<?xf32>) -> ()
  return
}

// -----

// What the loop starts with is read after it, through a view: two others are written.
// CHECK-LABEL: @start_is_used_after
// CHECK: %[[A:.*]] = memref.alloc() : memref<8xf32>
// CHECK: memref.expand_shape
// CHECK: %[[B:.*]] = memref.alloc() : memref<8xf32>
// CHECK: %[[C:.*]] = memref.alloc() : memref<8xf32>
// CHECK: scf.for {{.*}} iter_args(%[[X:.*]] = %[[A]], %[[Y:.*]] = %[[B]], %[[Z:.*]] = %[[C]])
// CHECK-NEXT: "test.step"(%[[X]], %[[Y]])
// CHECK-NEXT: scf.yield %[[Y]], %[[Z]], %[[Y]]
func.func @start_is_used_after(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc() : memref<8xf32>
  "test.use"(%a) : (memref<8xf32>) -> ()
  %v = memref.expand_shape %a [[0, 1]] output_shape [2, 4] : memref<8xf32> into memref<2x4xf32>
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a) -> (memref<8xf32>) {
    %y = memref.alloc() : memref<8xf32>
    "test.step"(%x, %y) : (memref<8xf32>, memref<8xf32>) -> ()
    scf.yield %y : memref<8xf32>
  }
  "test.use"(%r, %v) : (memref<8xf32>, memref<2x4xf32>) -> ()
  return
}

// -----

// An argument is not written to, in a loop of which another step reads it.
// CHECK-LABEL: @start_is_given
// CHECK-COUNT-2: memref.alloc
// CHECK: scf.for
// CHECK-NOT: memref.alloc
func.func @start_is_given(%a: memref<8xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a) -> (memref<8xf32>) {
    %y = memref.alloc() : memref<8xf32>
    "test.step"(%x, %y) : (memref<8xf32>, memref<8xf32>) -> ()
    scf.yield %y : memref<8xf32>
  }
  "test.use"(%r) : (memref<8xf32>) -> ()
  return
}

// -----

// Two steps back are read, sizes change from step to step, and one buffer is two states: all stay.
// CHECK-LABEL: @others_stay
// CHECK-NOT: memref.alloc
// CHECK-COUNT-3: scf.for {{.*}} iter_args(%{{[^,]*}}, %{{[^,]*}}) ->
func.func @others_stay(%a: memref<8xf32>, %b: memref<8xf32>, %c: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a, %before = %b) -> (memref<8xf32>, memref<8xf32>) {
    %y = memref.alloc() : memref<8xf32>
    "test.step"(%x, %before, %y) : (memref<8xf32>, memref<8xf32>, memref<8xf32>) -> ()
    scf.yield %y, %x : memref<8xf32>, memref<8xf32>
  }
  %s:2 = scf.for %i = %c0 to %n step %c1 iter_args(%x = %c, %size = %n) -> (memref<?xf32>, index) {
    %y = memref.alloc(%size) : memref<?xf32>
    "test.step"(%x, %y) : (memref<?xf32>, memref<?xf32>) -> ()
    %next = arith.addi %size, %c1 : index
    scf.yield %y, %next : memref<?xf32>, index
  }
  %t:2 = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a, %z = %b) -> (memref<8xf32>, memref<8xf32>) {
    %y = memref.alloc() : memref<8xf32>
    "test.step"(%x, %z, %y) : (memref<8xf32>, memref<8xf32>, memref<8xf32>) -> ()
    scf.yield %y, %y : memref<8xf32>, memref<8xf32>
  }
  "test.use"(%r#0, %s#0, %t#0) : (memref<8xf32>, memref<?xf32>, memref<8xf32>) -> ()
  return
}
