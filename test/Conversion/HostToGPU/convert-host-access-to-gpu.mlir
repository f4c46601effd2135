// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-host-access-to-gpu))' | FileCheck %s

// A kernel for every function below: it makes %m the device's.
func.func private @use(memref<i1>)

// A check becomes a kernel; the host does not wait to see which was the first to fail.
// CHECK-LABEL: @checks
// CHECK-SAME: %[[A:[^,]*]]: memref<i1>, %[[B:.*]]: memref<i1>
// CHECK: %[[FLAG:.*]] = memref.alloc() : memref<i32>
// CHECK: gpu.memset %[[FLAG]], %c0_i32
// CHECK: gpu.launch
// CHECK: scf.if
// CHECK: %[[OK:.*]] = memref.load %[[A]][]
// CHECK: %[[BAD:.*]] = arith.xori %[[OK]], %true
// CHECK: %[[BEFORE:.*]] = memref.load %[[FLAG]][]
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[BEFORE]], %c0_i32
// CHECK: arith.andi %[[BAD]], %[[FIRST]]
// CHECK: scf.if
// CHECK: memref.store %c1_i32{{.*}}, %[[FLAG]][]
// CHECK: megactx.kernel = "check"
// CHECK: gpu.launch
// CHECK: memref.load %[[B]][]
// CHECK: memref.store %c2_i32{{.*}}, %[[FLAG]][]
// CHECK: megactx.kernel = "check"
// CHECK: nvx.report_checks %[[FLAG]] ["first", "second"] : memref<i32>
// CHECK: memref.dealloc %[[FLAG]]
// CHECK-NOT: memref.load
// CHECK: return
func.func @checks(%a: memref<i1>, %b: memref<i1>) {
  call @use(%a) : (memref<i1>) -> ()
  call @use(%b) : (memref<i1>) -> ()
  %x = memref.load %a[] : memref<i1>
  cf.assert %x, "first"
  %y = memref.load %b[] : memref<i1>
  cf.assert %y, "second"
  return
}

// What the condition was loaded from changes before the check: it is checked where it was loaded, and the host waits for nothing.
// CHECK-LABEL: @check_of_an_older_value
// CHECK: memref.load %arg0[]
// CHECK: megactx.kernel = "check"
// CHECK: call @use
// CHECK-NOT: megactx.kernel = "load"
// CHECK-NOT: memref.copy
// CHECK: nvx.report_checks %{{.*}} ["older"]
func.func @check_of_an_older_value(%a: memref<i1>) {
  call @use(%a) : (memref<i1>) -> ()
  %x = memref.load %a[] : memref<i1>
  call @use(%a) : (memref<i1>) -> ()
  cf.assert %x, "older"
  return
}

// A check of sizes is the host's.
// CHECK-LABEL: @check_of_a_size
// CHECK-NOT: gpu.launch
// CHECK: cf.assert
func.func @check_of_a_size(%n: index) {
  %c4 = arith.constant 4 : index
  %ok = arith.cmpi ule, %n, %c4 : index
  cf.assert %ok, "at most 4"
  return
}

// CHECK-LABEL: @store
// CHECK-SAME: %[[A:.*]]: memref<4xi64>, %[[V:.*]]: i64
// CHECK: gpu.launch {{.*}} threads({{.*}} = %c32
// CHECK: scf.if
// CHECK: memref.store %[[V]], %[[A]][%c2]
// CHECK: megactx.kernel = "store"
// CHECK-NOT: memref.store %[[V]]
// CHECK: return
func.func @store(%a: memref<4xi64>, %v: i64) {
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  memref.store %v, %a[%c2] : memref<4xi64>
  gpu.launch blocks(%bx, %by, %bz) in (%gx = %c1, %gy = %c1, %gz = %c1) threads(%tx, %ty, %tz) in (%x = %c1, %y = %c1, %z = %c1) {
    %0 = memref.load %a[%tx] : memref<4xi64>
    memref.store %0, %a[%tx] : memref<4xi64>
    gpu.terminator
  }
  return
}

// A load that decides a size is a copy of one element.
// CHECK-LABEL: @load
// CHECK-SAME: %[[A:.*]]: memref<4xi64>
// CHECK: call @use4
// CHECK: %[[THERE:.*]] = memref.alloc() : memref<i64>
// CHECK: gpu.launch
// CHECK: %[[X:.*]] = memref.load %[[A]][%c2]
// CHECK: memref.store %[[X]], %[[THERE]][]
// CHECK: megactx.kernel = "load"
// CHECK: %[[HERE:.*]] = memref.alloca() : memref<i64>
// CHECK: memref.copy %[[THERE]], %[[HERE]]
// CHECK: memref.dealloc %[[THERE]]
// CHECK: %[[N:.*]] = memref.load %[[HERE]][]
// CHECK: return %[[N]]
func.func private @use4(memref<4xi64>)
func.func @load(%a: memref<4xi64>) -> i64 {
  %c2 = arith.constant 2 : index
  call @use4(%a) : (memref<4xi64>) -> ()
  %n = memref.load %a[%c2] : memref<4xi64>
  return %n : i64
}

// Through a view, too.
// CHECK-LABEL: @load_of_a_view
// CHECK: memref.subview
// CHECK: megactx.kernel = "load"
func.func @load_of_a_view(%a: memref<4xi64>) -> i64 {
  %c0 = arith.constant 0 : index
  call @use4(%a) : (memref<4xi64>) -> ()
  %view = memref.subview %a[1] [2] [1] : memref<4xi64> to memref<2xi64, strided<[1], offset: 1>>
  %n = memref.load %view[%c0] : memref<2xi64, strided<[1], offset: 1>>
  return %n : i64
}

// Memory that only the host's loads and stores use stays with it.
// CHECK-LABEL: @memory_of_the_host
// CHECK-NOT: gpu.launch
// CHECK: memref.store %{{.*}}, %arg0
// CHECK: memref.load %arg0
// CHECK: return
func.func @memory_of_the_host(%a: memref<4xi64>, %v: i64) -> i64 {
  %c1 = arith.constant 1 : index
  memref.store %v, %a[%c1] : memref<4xi64>
  %n = memref.load %a[%c1] : memref<4xi64>
  return %n : i64
}
