// RUN: megactx-opt %s --megactx-separate-inits | FileCheck %s

// One fill serves two sums; each gets its own, just before it.
// CHECK-LABEL: @shared_fill
// CHECK: %[[F0:.*]] = linalg.fill
// CHECK-NEXT: linalg.generic {{.*}}ins(%arg0 {{.*}} outs(%[[F0]] :
// CHECK: %[[F1:.*]] = linalg.fill
// CHECK-NEXT: linalg.generic {{.*}}ins(%arg1 {{.*}} outs(%[[F1]] :
// CHECK: return
#in = affine_map<(i, j) -> (i, j)>
#out = affine_map<(i, j) -> (i)>
func.func @shared_fill(%a: tensor<4x8xf32>, %b: tensor<4x8xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4xf32>
  %fill = linalg.fill ins(%zero : f32) outs(%empty : tensor<4xf32>) -> tensor<4xf32>
  %0 = linalg.generic {indexing_maps = [#in, #out], iterator_types = ["parallel", "reduction"]}
      ins(%a : tensor<4x8xf32>) outs(%fill : tensor<4xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %y = arith.addf %acc, %x : f32
    linalg.yield %y : f32
  } -> tensor<4xf32>
  %1 = linalg.generic {indexing_maps = [#in, #out], iterator_types = ["parallel", "reduction"]}
      ins(%b : tensor<4x8xf32>) outs(%fill : tensor<4xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %y = arith.addf %acc, %x : f32
    linalg.yield %y : f32
  } -> tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// A destination that is read elsewhere and not made here stays.
// CHECK-LABEL: @argument
// CHECK-SAME: %[[A:.*]]: tensor<4xf32>
// CHECK: linalg.fill {{.*}} outs(%[[A]]
func.func @argument(%a: tensor<4xf32>, %x: f32) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = linalg.fill ins(%x : f32) outs(%a : tensor<4xf32>) -> tensor<4xf32>
  return %0, %a : tensor<4xf32>, tensor<4xf32>
}

// What a loop fills, slice by slice, are two tensors.
// CHECK-LABEL: @parts_of_a_loop
// CHECK: %[[A:.*]] = tensor.empty
// CHECK: %[[B:.*]] = tensor.empty
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[A]], %{{.*}} = %[[B]])
func.func @parts_of_a_loop(%x: tensor<4xf32>, %y: tensor<4xf32>, %n: index) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %empty = tensor.empty(%n) : tensor<?x4xf32>
  %0:2 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %empty, %b = %empty) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
    %xs = tensor.insert_slice %x into %a[%i, 0] [1, 4] [1, 1] : tensor<4xf32> into tensor<?x4xf32>
    %ys = tensor.insert_slice %y into %b[%i, 0] [1, 4] [1, 1] : tensor<4xf32> into tensor<?x4xf32>
    scf.yield %xs, %ys : tensor<?x4xf32>, tensor<?x4xf32>
  }
  return %0#0, %0#1 : tensor<?x4xf32>, tensor<?x4xf32>
}
