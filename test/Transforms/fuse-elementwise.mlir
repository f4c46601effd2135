// RUN: megactx-opt %s --megactx-fuse-elementwise | FileCheck %s

// The heads of a projection: its product keeps four loops, what comes after it is one op.
// CHECK-LABEL: @heads_of_a_projection
// CHECK: %[[P:.+]] = linalg.batch_matmul {{.*}} -> tensor<1x?x8xf32>
// CHECK: %[[H:.+]] = tensor.expand_shape %[[P]]
// CHECK: linalg.generic {{.*}} ins(%[[H]]
// CHECK:   math.absf
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @heads_of_a_projection(%x: tensor<1x?x8xf32>, %w: tensor<1x8x8xf32>, %n: index) -> tensor<1x2x?x4xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty(%n) : tensor<1x?x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  %p = linalg.batch_matmul ins(%x, %w : tensor<1x?x8xf32>, tensor<1x8x8xf32>) outs(%f : tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  %h = tensor.expand_shape %p [[0], [1], [2, 3]] output_shape [1, %n, 2, 4] : tensor<1x?x8xf32> into tensor<1x?x2x4xf32>
  %t = tensor.empty(%n) : tensor<1x2x?x4xf32>
  %q = linalg.generic {indexing_maps = [affine_map<(b, h, i, d) -> (b, i, h, d)>, affine_map<(b, h, i, d) -> (b, h, i, d)>],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%h : tensor<1x?x2x4xf32>) outs(%t : tensor<1x2x?x4xf32>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  } -> tensor<1x2x?x4xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(b, h, i, d) -> (b, h, i, d)>, affine_map<(b, h, i, d) -> (b, h, i, d)>],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%q : tensor<1x2x?x4xf32>) outs(%t : tensor<1x2x?x4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %a = math.absf %in : f32
    linalg.yield %a : f32
  } -> tensor<1x2x?x4xf32>
  return %r : tensor<1x2x?x4xf32>
}

// What an operand is computed by stays out of the product.
// CHECK-LABEL: @operand_of_a_product
// CHECK: %[[A:.+]] = linalg.generic
// CHECK: math.absf
// CHECK: linalg.generic {{.*}} ins(%[[A]], %{{.+}} : tensor<1x?x8xf32>, tensor<1x8x8xf32>)
func.func @operand_of_a_product(%x: tensor<1x?x8xf32>, %w: tensor<1x8x8xf32>, %n: index) -> tensor<1x?x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty(%n) : tensor<1x?x8xf32>
  %a = linalg.generic {indexing_maps = [affine_map<(b, i, d) -> (b, i, d)>, affine_map<(b, i, d) -> (b, i, d)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x : tensor<1x?x8xf32>) outs(%e : tensor<1x?x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    %y = math.absf %in : f32
    linalg.yield %y : f32
  } -> tensor<1x?x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x?x8xf32>) -> tensor<1x?x8xf32>
  %p = linalg.generic {indexing_maps = [affine_map<(b, i, o, c) -> (b, i, c)>, affine_map<(b, i, o, c) -> (b, c, o)>, affine_map<(b, i, o, c) -> (b, i, o)>],
      iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%a, %w : tensor<1x?x8xf32>, tensor<1x8x8xf32>) outs(%f : tensor<1x?x8xf32>) {
  ^bb0(%l: f32, %r: f32, %acc: f32):
    %lr = arith.mulf %l, %r : f32
    %sum = arith.addf %acc, %lr : f32
    linalg.yield %sum : f32
  } -> tensor<1x?x8xf32>
  return %p : tensor<1x?x8xf32>
}


// A row's sum is updated once, not for each element of the row.
// CHECK-LABEL: func @destination_that_is_read
// CHECK: %[[ROW:.*]] = linalg.generic {{.*}} ins(%{{.*}} : tensor<?xf32>) outs(%{{.*}} : tensor<?xf32>)
// CHECK: linalg.generic {{.*}} ins({{.*}}%[[ROW]]{{.*}}) outs(%{{.*}} : tensor<?x?xf32>)
func.func @destination_that_is_read(%x: tensor<?x?xf32>, %dx: tensor<?xf32>, %sum: tensor<?xf32>, %init: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %row = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%dx : tensor<?xf32>) outs(%sum : tensor<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.subf %b, %a : f32
    linalg.yield %0 : f32
  } -> tensor<?xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      ins(%x, %row : tensor<?x?xf32>, tensor<?xf32>) outs(%init : tensor<?x?xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %0 = arith.subf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}


// What is padded is not expanded before the sizes that it would have.
// CHECK-LABEL: func @sizes_behind_what_is_padded
// CHECK: %[[ROWS:.*]] = tensor.dim
// CHECK: tensor.pad
// CHECK: tensor.expand_shape {{.*}} output_shape [2, 1, %[[ROWS]],
func.func @sizes_behind_what_is_padded(%x: tensor<2x?x?xf32>) -> tensor<2x1x?x?xf32> {
  %zero = arith.constant 0.0 : f32
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %rows = tensor.dim %x, %c1 : tensor<2x?x?xf32>
  %columns = tensor.dim %x, %c2 : tensor<2x?x?xf32>
  %padded = tensor.pad %x low[0, 0, 1] high[0, 0, 1] {
  ^bb0(%b: index, %i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<2x?x?xf32> to tensor<2x?x?xf32>
  %all = arith.addi %columns, %c2 : index
  %expanded = tensor.expand_shape %padded [[0], [1, 2], [3]] output_shape [2, 1, %rows, %all] : tensor<2x?x?xf32> into tensor<2x1x?x?xf32>
  return %expanded : tensor<2x1x?x?xf32>
}
