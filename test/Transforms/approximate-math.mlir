// RUN: megactx-opt %s --megactx-approximate-math | FileCheck %s

// CHECK-LABEL: @vectorizable
// CHECK-NOT: math.exp
// CHECK-NOT: math.erf
// CHECK-NOT: math.tanh
// CHECK: return
func.func @vectorizable(%x: f32) -> (f32, f32, f32) {
  %0 = math.exp %x : f32
  %1 = math.erf %x : f32
  %2 = math.tanh %x : f32
  return %0, %1, %2 : f32, f32, f32
}

// CHECK-LABEL: @cube
// CHECK-NOT: math.powf
// CHECK: return
func.func @cube(%x: f32) -> f32 {
  %three = arith.constant 3.0 : f32
  %0 = math.powf %x, %three : f32
  return %0 : f32
}

// f64 has its precision to keep.
// CHECK-LABEL: @kept
// CHECK: math.sin
// CHECK: math.exp
func.func @kept(%x: f64, %y: f64) -> (f64, f64) {
  %0 = math.sin %x : f64
  %1 = math.exp %y : f64
  return %0, %1 : f64, f64
}

// Quarters of a turn are counted of any number, without a branch.
// CHECK-LABEL: @angles
// CHECK-NOT: math.sin
// CHECK-NOT: math.cos
// CHECK-NOT: scf.if
// CHECK: arith.muli {{.*}} : vector<8xi64>
// CHECK: return
func.func @angles(%x: vector<8xf32>, %y: f32) -> (vector<8xf32>, f32) {
  %0 = math.sin %x : vector<8xf32>
  %1 = math.cos %y : f32
  return %0, %1 : vector<8xf32>, f32
}

// The power of two is an integer also of what is no number.
// CHECK-LABEL: @bounded
// CHECK: %[[ABOVE:.*]] = arith.cmpf ogt, %[[POWER:.*]], %[[LEAST:.*]] : vector<8xf32>
// CHECK: %[[BOUNDED:.*]] = arith.select %[[ABOVE]], %[[POWER]], %[[LEAST]]
// CHECK: arith.fptosi %[[BOUNDED]]
func.func @bounded(%x: vector<8xf32>) -> vector<8xf32> {
  %0 = math.exp %x : vector<8xf32>
  return %0 : vector<8xf32>
}
