// RUN: megactx-opt %s --megactx-outline-parallel | FileCheck %s

// The index first, then the loop's begin and step, then what the loop reads; constants are cloned. What the function says to LLVM is said of its loop.
// CHECK: func.func private @fill_parallel_0_body(%[[T:.*]]: index, %[[LB:.*]]: index, %[[STEP:.*]]: index, %[[V:.*]]: f32, %[[A:.*]]: memref<?xf32>) attributes {passthrough = ["megactx-no-unroll"]}
// CHECK-DAG: %[[C7:.*]] = arith.constant 7.0
// CHECK-DAG: %[[O:.*]] = arith.muli %[[T]], %[[STEP]]
// CHECK: %[[I:.*]] = arith.addi %[[LB]], %[[O]]
// CHECK: %[[SUM:.*]] = arith.addf %[[V]], %[[C7]]
// CHECK: memref.store %[[SUM]], %[[A]][%[[I]]]
// CHECK: func.func private @fill_parallel_0(index, index, index, f32, memref<?xf32>) attributes {megactx.launches = @fill_parallel_0_body}
// CHECK-LABEL: func.func @fill
// CHECK-SAME: %[[LB:.*]]: index, %[[UB:.*]]: index, %[[STEP:.*]]: index
// CHECK: %[[EXTENT:.*]] = arith.subi %[[UB]], %[[LB]]
// CHECK: %[[COUNT:.*]] = arith.ceildivsi %[[EXTENT]], %[[STEP]]
// CHECK: call @fill_parallel_0(%[[COUNT]], %[[LB]], %[[STEP]],
// CHECK-NOT: scf.parallel
func.func @fill(%lb: index, %ub: index, %step: index, %v: f32, %a: memref<?xf32>) attributes {passthrough = ["megactx-no-unroll"]} {
  %c7 = arith.constant 7.0 : f32
  scf.parallel (%i) = (%lb) to (%ub) step (%step) {
    %s = arith.addf %v, %c7 : f32
    memref.store %s, %a[%i] : memref<?xf32>
  }
  return
}

// A loop within a loop runs within the task; one with a reduction is not handed over.
// CHECK: func.func private @nested_parallel_1_body
// CHECK: scf.parallel
// CHECK-LABEL: func.func @nested
// CHECK-NOT: scf.parallel
// CHECK: return
func.func @nested(%n: index, %v: f32, %a: memref<?x?xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    scf.parallel (%j) = (%c0) to (%n) step (%c1) {
      memref.store %v, %a[%i, %j] : memref<?x?xf32>
    }
  }
  return
}

// CHECK-LABEL: func.func @reduction
// CHECK: scf.parallel
func.func @reduction(%n: index, %a: memref<?xf32>) -> f32 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %sum = scf.parallel (%i) = (%c0) to (%n) step (%c1) init (%zero) -> f32 {
    %x = memref.load %a[%i] : memref<?xf32>
    scf.reduce(%x : f32) {
    ^bb0(%l: f32, %r: f32):
      %s = arith.addf %l, %r : f32
      scf.reduce.return %s : f32
    }
  }
  return %sum : f32
}

// An array is an argument, so that loops over different ones can share a function; a number is not.
memref.global "private" constant @bias : memref<4xf32> = dense<[1.0, 2.0, 3.0, 4.0]>
memref.global "private" constant @scale : memref<f32> = dense<0.5>
// CHECK: func.func private @of_arrays_parallel_{{[0-9]+}}_body({{.*}}: index, {{.*}}: index, {{.*}}: index, %[[BIAS:.*]]: memref<4xf32>, %{{.*}}: memref<4xf32>)
// CHECK-NOT: get_global @bias
// CHECK: memref.get_global @scale
// CHECK: memref.load %[[BIAS]]
// CHECK-LABEL: func.func @of_arrays
// CHECK: memref.get_global @bias
func.func @of_arrays(%a: memref<4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %bias = memref.get_global @bias : memref<4xf32>
  %scale = memref.get_global @scale : memref<f32>
  scf.parallel (%i) = (%c0) to (%c4) step (%c1) {
    %b = memref.load %bias[%i] : memref<4xf32>
    %s = memref.load %scale[] : memref<f32>
    %p = arith.mulf %b, %s : f32
    memref.store %p, %a[%i] : memref<4xf32>
  }
  return
}
