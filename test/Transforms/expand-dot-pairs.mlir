// RUN: megactx-opt %s --megactx-expand-dot-pairs | FileCheck %s
// RUN: megactx-opt %s | megactx-opt | FileCheck %s --check-prefix=OP

// Neighbours of 16 bits are multiplied in 32, and added.
// CHECK-LABEL: @vectors
// CHECK-SAME: %[[A:[^:]*]]: vector<16xi32>, %[[B:[^:]*]]: vector<16xi32>, %[[C:[^:]*]]: vector<16xi32>
// CHECK: %[[A16:.*]] = vector.bitcast %[[A]] : vector<16xi32> to vector<32xi16>
// CHECK: %[[AW:.*]] = arith.extsi %[[A16]] : vector<32xi16> to vector<32xi32>
// CHECK: %[[B16:.*]] = vector.bitcast %[[B]]
// CHECK: %[[BW:.*]] = arith.extsi %[[B16]]
// CHECK: %[[P:.*]] = arith.muli %[[AW]], %[[BW]]
// CHECK: %[[LOW:.*]], %[[HIGH:.*]] = vector.deinterleave %[[P]]
// CHECK: %[[PAIRS:.*]] = arith.addi %[[LOW]], %[[HIGH]]
// CHECK: %[[SUM:.*]] = arith.addi %[[PAIRS]], %[[C]]
// CHECK: return %[[SUM]]
// OP-LABEL: @vectors
// OP: megactx.dot_pairs %{{.*}}, %{{.*}}, %{{.*}} : vector<16xi32>
func.func @vectors(%a: vector<16xi32>, %b: vector<16xi32>, %c: vector<16xi32>) -> vector<16xi32> {
  %0 = megactx.dot_pairs %a, %b, %c : vector<16xi32>
  return %0 : vector<16xi32>
}

// CHECK-LABEL: @words
// CHECK-SAME: %[[A:[^:]*]]: i32, %[[B:[^:]*]]: i32, %[[C:[^:]*]]: i32
// CHECK: %[[ALEFT:.*]] = arith.shli %[[A]], %{{.*}} : i32
// CHECK: %[[ALOW:.*]] = arith.shrsi %[[ALEFT]], %{{.*}} : i32
// CHECK: %[[BLEFT:.*]] = arith.shli %[[B]]
// CHECK: %[[BLOW:.*]] = arith.shrsi %[[BLEFT]]
// CHECK: %[[LOW:.*]] = arith.muli %[[ALOW]], %[[BLOW]]
// CHECK: %[[AHIGH:.*]] = arith.shrsi %[[A]]
// CHECK: %[[BHIGH:.*]] = arith.shrsi %[[B]]
// CHECK: %[[HIGH:.*]] = arith.muli %[[AHIGH]], %[[BHIGH]]
// CHECK: %[[PAIRS:.*]] = arith.addi %[[LOW]], %[[HIGH]]
// CHECK: arith.addi %[[PAIRS]], %[[C]]
func.func @words(%a: i32, %b: i32, %c: i32) -> i32 {
  %0 = megactx.dot_pairs %a, %b, %c : i32
  return %0 : i32
}
