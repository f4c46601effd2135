// RUN: megactx-opt %s --megactx-plan-arena --canonicalize --cse --allow-unregistered-dialect --split-input-file | FileCheck %s
// RUN: megactx-opt %s --megactx-plan-arena --allow-unregistered-dialect --split-input-file | megactx-opt --megactx-plan-arena --allow-unregistered-dialect --split-input-file -o /dev/null

// %c takes the place of %a: 3 units of 64 %n bytes.
// CHECK-LABEL: @dead_before_born
// CHECK: %[[N:.*]] = memref.dim
// CHECK: %[[LOW:.*]], %[[HIGH:.*]] = arith.mului_extended %[[N]], %c64
// CHECK: %[[FITS:.*]] = arith.cmpi eq, %[[HIGH]], %c0
// CHECK: %[[PRODUCT:.*]] = arith.select %[[FITS]], %[[LOW]], %c70368744177664
// CHECK: %[[UNIT:.*]] = arith.minui %[[PRODUCT]], %c70368744177664
// CHECK: arith.mului_extended %[[UNIT]], %c3
// CHECK: %[[SIZE:.*]] = arith.minui
// CHECK: %[[ARENA:.*]] = memref.alloc(%[[SIZE]]) {alignment = 64 : i64} : memref<?xi8>
// CHECK: %[[AT:.*]] = arith.muli %[[UNIT]], %c2
// CHECK: %[[A:.*]] = memref.view %[[ARENA]][%[[AT]]][%[[N]]] : memref<?xi8> to memref<?x16xf32>
// CHECK: %[[B:.*]] = memref.view %[[ARENA]][%c0][%[[N]]] : memref<?xi8> to memref<?x32xf32>
// CHECK: "test.use"(%[[A]], %[[B]])
// CHECK: "test.use"(%[[B]], %[[A]])
// CHECK-NEXT: memref.dealloc %[[ARENA]]
// CHECK-NEXT: return
func.func @dead_before_born(%x: memref<?x16xf32>) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x16xf32>
  %a = memref.alloc(%n) {alignment = 64 : i64} : memref<?x16xf32>
  %b = memref.alloc(%n) : memref<?x32xf32>
  "test.use"(%a, %b) : (memref<?x16xf32>, memref<?x32xf32>) -> ()
  %c = memref.alloc(%n) : memref<?x16xf32>
  "test.use"(%b, %c) : (memref<?x32xf32>, memref<?x16xf32>) -> ()
  memref.dealloc %a : memref<?x16xf32>
  memref.dealloc %b : memref<?x32xf32>
  memref.dealloc %c : memref<?x16xf32>
  return
}

// -----

// 100 bytes begin at a multiple of 64, and so does what follows.
// CHECK-LABEL: @static_sizes
// CHECK: %[[ARENA:.*]] = memref.alloc() {alignment = 64 : i64} : memref<192xi8>
// CHECK-DAG: memref.view %[[ARENA]][%c128][] : memref<192xi8> to memref<16xf32>
// CHECK-DAG: memref.view %[[ARENA]][%c0][] : memref<192xi8> to memref<25xf32>
// CHECK: dealloc
func.func @static_sizes() {
  %a = memref.alloc() : memref<25xf32>
  %b = memref.alloc() : memref<16xf32>
  "test.use"(%a, %b) : (memref<25xf32>, memref<16xf32>) -> ()
  memref.dealloc %a : memref<25xf32>
  memref.dealloc %b : memref<16xf32>
  return
}

// -----

// Which of n and m is greater is not known: side by side where both live, in one place where they do not.
// CHECK-LABEL: @different_sizes
// CHECK: %[[END_M:.*]] = arith.minui
// CHECK: %[[SUM:.*]] = arith.addi
// CHECK: arith.maxui
// CHECK: memref.alloc(
func.func @different_sizes(%n: index, %m: index, %k: index) {
  %a = memref.alloc(%n) : memref<?x16xf32>
  %b = memref.alloc(%m) : memref<?x16xf32>
  "test.use"(%a) : (memref<?x16xf32>) -> ()
  "test.use"(%a, %b) : (memref<?x16xf32>, memref<?x16xf32>) -> ()
  "test.use"(%b) : (memref<?x16xf32>) -> ()
  %c = memref.alloc(%k) : memref<?x16xf32>
  "test.use"(%c) : (memref<?x16xf32>) -> ()
  memref.dealloc %a : memref<?x16xf32>
  memref.dealloc %b : memref<?x16xf32>
  memref.dealloc %c : memref<?x16xf32>
  return
}

// -----

// A size that a value bound proves equal to another is the same.
// CHECK-LABEL: @equal_by_bounds
// CHECK-COUNT-2: arith.mului_extended
// CHECK-NOT: arith.mului_extended
// CHECK: memref.alloc(
func.func @equal_by_bounds(%x: memref<?xf32>) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?xf32>
  %view = memref.subview %x[0] [%n] [1] : memref<?xf32> to memref<?xf32>
  %m = memref.dim %view, %c0 : memref<?xf32>
  %a = memref.alloc(%n) : memref<?x16xf32>
  %b = memref.alloc(%m) : memref<?x16xf32>
  "test.use"(%a, %b) : (memref<?x16xf32>, memref<?x16xf32>) -> ()
  memref.dealloc %a : memref<?x16xf32>
  memref.dealloc %b : memref<?x16xf32>
  return
}

// -----

// A view of a buffer keeps it alive; so does a loop that uses it.
// CHECK-LABEL: @alive_through_views
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<128xi8>
func.func @alive_through_views(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc() : memref<16xf32>
  "test.use"(%a) : (memref<16xf32>) -> ()
  %v = memref.expand_shape %a [[0, 1]] output_shape [4, 4] : memref<16xf32> into memref<4x4xf32>
  %b = memref.alloc() : memref<16xf32>
  "test.use"(%b) : (memref<16xf32>) -> ()
  scf.for %i = %c0 to %n step %c1 {
    "test.use"(%v) : (memref<4x4xf32>) -> ()
  }
  memref.dealloc %a : memref<16xf32>
  memref.dealloc %b : memref<16xf32>
  return
}

// -----

// Results, sizes from data, buffers of loops and those freed elsewhere stay.
// CHECK-LABEL: @allocations_of_their_own
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<128xi8>
// CHECK: %[[RESULT:.*]] = memref.alloc() : memref<32xf32>
// CHECK: memref.alloc(%{{.*}}) : memref<?xf32>
// CHECK: scf.for
// CHECK-NEXT: memref.alloc() : memref<64xf32>
// CHECK: memref.alloc() : memref<48xf32>
// CHECK: scf.if
// CHECK-NEXT: memref.dealloc
// CHECK: return %[[RESULT]]
func.func @allocations_of_their_own(%data: memref<index>, %n: index, %p: i1) -> memref<32xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc() : memref<16xf32>
  %b = memref.alloc() : memref<16xf32>
  %r = memref.alloc() : memref<32xf32>
  "test.use"(%a, %b, %r) : (memref<16xf32>, memref<16xf32>, memref<32xf32>) -> ()
  %size = memref.load %data[] : memref<index>
  %d = memref.alloc(%size) : memref<?xf32>
  "test.use"(%d) : (memref<?xf32>) -> ()
  scf.for %i = %c0 to %n step %c1 {
    %l = memref.alloc() : memref<64xf32>
    "test.use"(%l) : (memref<64xf32>) -> ()
    memref.dealloc %l : memref<64xf32>
  }
  %e = memref.alloc() : memref<48xf32>
  "test.use"(%e) : (memref<48xf32>) -> ()
  scf.if %p {
    memref.dealloc %e : memref<48xf32>
  }
  memref.dealloc %a : memref<16xf32>
  memref.dealloc %b : memref<16xf32>
  memref.dealloc %d : memref<?xf32>
  return %r : memref<32xf32>
}

// -----

// What a later size needs moves up, and the check that it relies on with it.
// CHECK-LABEL: @check_before_memory
// CHECK: cf.assert %{{.*}}, "rows differ"
// CHECK: memref.alloc(
// CHECK: memref.load
// CHECK: cf.assert %{{.*}}, "depends on data"
func.func @check_before_memory(%n: index, %m: index) {
  %a = memref.alloc(%n) : memref<?xi1>
  "test.use"(%a) : (memref<?xi1>) -> ()
  %c0 = arith.constant 0 : index
  %ok = memref.load %a[%c0] : memref<?xi1>
  cf.assert %ok, "depends on data"
  %same = arith.cmpi eq, %n, %m : index
  cf.assert %same, "rows differ"
  %size = arith.subi %m, %n : index
  %b = memref.alloc(%size) : memref<?xi1>
  "test.use"(%b) : (memref<?xi1>) -> ()
  memref.dealloc %a : memref<?xi1>
  memref.dealloc %b : memref<?xi1>
  return
}

// -----

// A branch has an arena of its own, of a size that is computed in it.
// CHECK-LABEL: @branch
// CHECK-NOT: memref.alloc
// CHECK: scf.if
// CHECK: %[[N:.*]] = memref.load
// CHECK: memref.alloc(%{{.*}}) {alignment = 64 : i64} : memref<?xi8>
// CHECK-NOT: memref.alloc
// CHECK: memref.view %{{.*}}[%{{.*}}][%[[N]]]
// CHECK: memref.view %{{.*}}[%{{.*}}][%[[N]]]
// CHECK: memref.dealloc %{{.*}} : memref<?xi8>
// CHECK-NEXT: }
func.func @branch(%p: i1, %data: memref<index>) {
  scf.if %p {
    %n = memref.load %data[] : memref<index>
    %a = memref.alloc(%n) : memref<?xf32>
    %b = memref.alloc(%n) : memref<?xf32>
    "test.use"(%a, %b) : (memref<?xf32>, memref<?xf32>) -> ()
    memref.dealloc %a : memref<?xf32>
    memref.dealloc %b : memref<?xf32>
  }
  return
}

// -----

// Nothing is gained by an arena of one buffer.
// CHECK-LABEL: @one_buffer
// CHECK: memref.alloc() : memref<16xf32>
func.func @one_buffer() {
  %a = memref.alloc() : memref<16xf32>
  "test.use"(%a) : (memref<16xf32>) -> ()
  memref.dealloc %a : memref<16xf32>
  return
}

// -----

// What a loop carries has rows of its own: sums of others are none of its sizes.
// CHECK-LABEL: @carried_rows
// CHECK: scf.for {{.*}} iter_args(%[[X:[^ ]+]] = %{{.+}})
// CHECK: %[[ROWS:.+]] = memref.dim %[[X]]
// CHECK: arith.mului_extended {{.*}}%[[ROWS]]
func.func @carried_rows(%q: memref<?x8xf32>, %k: memref<?x8xf32>, %p: memref<?x8xf32>, %n: index) -> memref<?x8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %one = arith.constant 1.0 : f32
  %dk = memref.dim %k, %c0 : memref<?x8xf32>
  %dp = memref.dim %p, %c0 : memref<?x8xf32>
  %dq = memref.dim %q, %c0 : memref<?x8xf32>
  %init = memref.alloc(%dq) : memref<?x8xf32>
  memref.copy %q, %init : memref<?x8xf32> to memref<?x8xf32>
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%x = %init) -> (memref<?x8xf32>) {
    %s = arith.addi %dk, %dp : index
    %dx = memref.dim %x, %c0 : memref<?x8xf32>
    %a = memref.alloc(%s) : memref<?x8xf32>
    %b = memref.alloc(%dx) : memref<?x8xf32>
    %y = memref.alloc(%dx) : memref<?x8xf32>
    linalg.fill ins(%one : f32) outs(%a : memref<?x8xf32>)
    linalg.fill ins(%one : f32) outs(%b : memref<?x8xf32>)
    linalg.fill ins(%one : f32) outs(%a : memref<?x8xf32>)
    memref.copy %b, %y : memref<?x8xf32> to memref<?x8xf32>
    memref.dealloc %a : memref<?x8xf32>
    memref.dealloc %b : memref<?x8xf32>
    scf.yield %y : memref<?x8xf32>
  }
  return %r : memref<?x8xf32>
}

// -----

// Rows and whole blocks of them share memory beside a buffer that lives throughout: the greater of the two, whichever that is, and this one.
// CHECK-LABEL: @rows_and_blocks
// CHECK: %[[A:.*]] = arith.minui
// CHECK: %[[LOWER:.*]] = arith.maxui
// CHECK: %[[END:.*]] = arith.addi %[[LOWER]], %[[A]]
// CHECK-NEXT: %[[ARENA:.*]] = memref.alloc(%[[END]])
// CHECK: memref.view %[[ARENA]][%[[LOWER]]]
// CHECK: memref.view %[[ARENA]][%c0]
// CHECK: memref.view %[[ARENA]][%c0]
func.func @rows_and_blocks(%n: index) {
  %c127 = arith.constant 127 : index
  %c128 = arith.constant 128 : index
  %up = arith.addi %n, %c127 : index
  %blocks = arith.floordivsi %up, %c128 : index
  %a = memref.alloc(%n) : memref<?x16xf32>
  %b = memref.alloc(%n) : memref<?x160xf32>
  "test.use"(%a, %b) : (memref<?x16xf32>, memref<?x160xf32>) -> ()
  %c = memref.alloc(%blocks) : memref<?x128x160xf32>
  "test.use"(%a, %c) : (memref<?x16xf32>, memref<?x128x160xf32>) -> ()
  memref.dealloc %a : memref<?x16xf32>
  memref.dealloc %b : memref<?x160xf32>
  memref.dealloc %c : memref<?x128x160xf32>
  return
}
