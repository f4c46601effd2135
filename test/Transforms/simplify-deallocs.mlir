// RUN: megactx-opt %s --megactx-simplify-deallocs -split-input-file | FileCheck %s

// What a branch gives is its own in either case, and is returned.
// CHECK-LABEL: func @result_of_branches_is_returned
// CHECK: %[[R:.*]] = scf.if
// CHECK-NOT: dealloc
// CHECK: return %[[R]]
func.func @result_of_branches_is_returned(%c: i1, %n: index) -> memref<?xf32> {
  %true = arith.constant true
  %r = scf.if %c -> memref<?xf32> {
    %a = memref.alloc(%n) : memref<?xf32>
    scf.yield %a : memref<?xf32>
  } else {
    %b = memref.alloc(%n) : memref<?xf32>
    scf.yield %b : memref<?xf32>
  }
  %base, %offset, %size, %stride = memref.extract_strided_metadata %r : memref<?xf32> -> memref<f32>, index, index, index
  bufferization.dealloc (%base : memref<f32>) if (%true) retain (%r : memref<?xf32>)
  return %r : memref<?xf32>
}

// -----

// Of two, only what a view of is returned stays.
// CHECK-LABEL: func @view_is_returned
// CHECK-SAME: (%{{.*}}: memref<4x?xf32>, %[[B:.*]]: memref<f32>,
// CHECK: bufferization.dealloc (%[[B]] : memref<f32>) if (%{{.*}}) retain (%{{.*}} : memref<?xf32>)
func.func @view_is_returned(%a: memref<4x?xf32>, %b: memref<f32>, %c: i1) -> memref<?xf32> {
  %v = memref.collapse_shape %a [[0, 1]] : memref<4x?xf32> into memref<?xf32>
  bufferization.dealloc (%a, %b : memref<4x?xf32>, memref<f32>) if (%c, %c) retain (%v : memref<?xf32>)
  return %v : memref<?xf32>
}

// -----

// Whether the branch's owner has it now is asked.
// CHECK-LABEL: func @ownership_is_used
// CHECK: bufferization.dealloc (%{{.*}} : memref<f32>) if
func.func @ownership_is_used(%a: memref<f32>, %c: i1) -> i1 {
  %own = bufferization.dealloc (%a : memref<f32>) if (%c) retain (%a : memref<f32>)
  return %own : i1
}

// -----

// The second is freed where it is other memory than the first, or the first is
// not freed; what is retained is owned where either is it.
// CHECK-LABEL: func @several
// CHECK-SAME: (%[[A:.*]]: memref<f32>, %[[B:.*]]: memref<f32>, %{{.*}}: memref<f32>, %[[C:.*]]: i1, %[[D:.*]]: i1)
// CHECK: %[[P:.*]] = memref.extract_aligned_pointer_as_index %[[A]]
// CHECK: %[[X:.*]] = bufferization.dealloc (%[[A]] : memref<f32>) if (%[[C]]) retain
// CHECK: %[[Q:.*]] = memref.extract_aligned_pointer_as_index %[[B]]
// CHECK: %[[NE:.*]] = arith.cmpi ne, %[[Q]], %[[P]]
// CHECK: %[[FIRST:.*]] = arith.select %[[C]], %[[NE]], %true
// CHECK: %[[FREES:.*]] = arith.select %[[FIRST]], %[[D]], %false
// CHECK: %[[Y:.*]] = bufferization.dealloc (%[[B]] : memref<f32>) if (%[[FREES]]) retain
// CHECK: %[[OWNS:.*]] = arith.ori %[[X]], %[[Y]]
// CHECK: return %[[OWNS]]
func.func @several(%a: memref<f32>, %b: memref<f32>, %r: memref<f32>, %c: i1, %d: i1) -> i1 {
  %own = bufferization.dealloc (%a, %b : memref<f32>, memref<f32>) if (%c, %d) retain (%r : memref<f32>)
  return %own : i1
}

// -----

// No step makes an owner of either buffer that the loop carries: nothing is freed in it, and both allocations are, after it.
// CHECK-LABEL: func @carried_in_turn
// CHECK: %[[A:.*]] = memref.alloc(%{{.*}})
// CHECK: %[[B:.*]] = memref.alloc(%{{.*}})
// CHECK: scf.for
// CHECK-NOT: bufferization.dealloc
// CHECK: scf.yield
// CHECK-NOT: arith.cmpi
// CHECK: bufferization.dealloc (%[[A]] : memref<?xf32>) if (%true)
// CHECK-NOT: arith.cmpi
// CHECK: bufferization.dealloc (%[[B]] : memref<?xf32>) if (%true)
// CHECK-NOT: bufferization.dealloc
// CHECK: return
func.func @carried_in_turn(%n: index) {
  %true = arith.constant true
  %false = arith.constant false
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc(%n) : memref<?xf32>
  %b = memref.alloc(%n) : memref<?xf32>
  %r:4 = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a, %y = %b, %ownsX = %false, %ownsY = %false) -> (memref<?xf32>, memref<?xf32>, i1, i1) {
    %own:2 = bufferization.dealloc (%x, %y : memref<?xf32>, memref<?xf32>) if (%ownsX, %ownsY) retain (%y, %x : memref<?xf32>, memref<?xf32>)
    scf.yield %y, %x, %own#0, %own#1 : memref<?xf32>, memref<?xf32>, i1, i1
  }
  bufferization.dealloc (%a, %b, %r#0, %r#1 : memref<?xf32>, memref<?xf32>, memref<?xf32>, memref<?xf32>) if (%true, %true, %r#2, %r#3)
  return
}

// -----

// A step makes an owner.
// CHECK-LABEL: func @carried_and_owned
// CHECK: scf.for
// CHECK: bufferization.dealloc (%{{.*}} : memref<?xf32>) if (%{{.*}})
// CHECK: scf.yield
// CHECK: bufferization.dealloc (%{{.*}} : memref<?xf32>) if (%{{.*}}#1)
func.func @carried_and_owned(%a: memref<?xf32>, %n: index) {
  %true = arith.constant true
  %false = arith.constant false
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a, %owns = %false) -> (memref<?xf32>, i1) {
    %y = memref.alloc(%i) : memref<?xf32>
    bufferization.dealloc (%x : memref<?xf32>) if (%owns)
    scf.yield %y, %true : memref<?xf32>, i1
  }
  bufferization.dealloc (%r#0 : memref<?xf32>) if (%r#1)
  return
}
