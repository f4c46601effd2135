// RUN: megactx-opt %s --megactx-widen-integer-products --split-input-file | FileCheck %s

#a = affine_map<(b, m, n, k) -> (b, m, k)>
#b = affine_map<(b, m, n, k) -> (b, k, n)>
#c = affine_map<(b, m, n, k) -> (b, m, n)>

// 1000 terms, 256 at a time, which f32 sums exactly.
// CHECK-LABEL: @many_terms
// CHECK-SAME: %[[X:.*]]: tensor<1x?x1000xui8>, %[[W:.*]]: tensor<1x1000x16xi8>, %[[Z:.*]]: tensor<1x?x16xi32>
// CHECK-DAG: %[[END:.*]] = arith.constant 1000 : index
// CHECK-DAG: %[[STEP:.*]] = arith.constant 256 : index
// CHECK: scf.for %[[I:.*]] = %{{.*}} to %[[END]] step %[[STEP]] iter_args(%[[SUMS:.*]] = %[[Z]])
// CHECK: %[[LEFT:.*]] = arith.subi %[[END]], %[[I]]
// CHECK: %[[COUNT:.*]] = arith.minsi %[[LEFT]], %[[STEP]]
// CHECK: %[[XS:.*]] = tensor.extract_slice %[[X]][0, 0, %[[I]]] [1, %{{.*}}, %[[COUNT]]] [1, 1, 1]
// CHECK: %[[XF:.*]] = linalg.generic {{.*}} ins(%[[XS]] :
// CHECK: arith.uitofp %{{.*}} : i8 to f32
// CHECK: %[[WS:.*]] = tensor.extract_slice %[[W]][0, %[[I]], 0] [1, %[[COUNT]], 16] [1, 1, 1]
// CHECK: %[[WF:.*]] = linalg.generic {{.*}} ins(%[[WS]] :
// CHECK: arith.sitofp %{{.*}} : i8 to f32
// CHECK: %[[PRODUCT:.*]] = linalg.generic {{.*}} ins(%[[XF]], %[[WF]] :
// CHECK: arith.mulf
// CHECK: linalg.generic {{.*}} ins(%[[PRODUCT]] : {{.*}}) outs(%[[SUMS]] :
// CHECK: arith.fptosi
// CHECK: arith.addi
func.func @many_terms(%x: tensor<1x?x1000xui8>, %w: tensor<1x1000x16xi8>, %z: tensor<1x?x16xi32>) -> tensor<1x?x16xi32> {
  %y = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x?x1000xui8>, tensor<1x1000x16xi8>) outs(%z : tensor<1x?x16xi32>) {
  ^bb0(%p: ui8, %q: i8, %r: i32):
    %bits = builtin.unrealized_conversion_cast %p : ui8 to i8
    %0 = arith.extui %bits : i8 to i32
    %1 = arith.extsi %q : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %r, %2 : i32
    linalg.yield %3 : i32
  } -> tensor<1x?x16xi32>
  return %y : tensor<1x?x16xi32>
}

// -----

#a = affine_map<(b, m, n, k) -> (b, m, k)>
#b = affine_map<(b, m, n, k) -> (b, k, n)>
#c = affine_map<(b, m, n, k) -> (b, m, n)>

// Few at once; and a product of other numbers is none of bytes.
// CHECK-LABEL: @few_terms
// CHECK-NOT: scf.for
// CHECK: arith.sitofp %{{.*}} : i8 to f32
// CHECK: arith.mulf
// CHECK: linalg.generic
// CHECK: arith.extsi %{{.*}} : i16 to i32
func.func @few_terms(%x: tensor<2x3x256xui8>, %w: tensor<2x256x16xi8>, %v: tensor<2x16x5xi16>, %z: tensor<2x3x16xi32>, %e: tensor<2x3x5xi32>) -> tensor<2x3x5xi32> {
  %y = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<2x3x256xui8>, tensor<2x256x16xi8>) outs(%z : tensor<2x3x16xi32>) {
  ^bb0(%p: ui8, %q: i8, %r: i32):
    %bits = builtin.unrealized_conversion_cast %p : ui8 to i8
    %0 = arith.extui %bits : i8 to i32
    %1 = arith.extsi %q : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %r, %2 : i32
    linalg.yield %3 : i32
  } -> tensor<2x3x16xi32>
  %u = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%y, %v : tensor<2x3x16xi32>, tensor<2x16x5xi16>) outs(%e : tensor<2x3x5xi32>) {
  ^bb0(%p: i32, %q: i16, %r: i32):
    %1 = arith.extsi %q : i16 to i32
    %2 = arith.muli %p, %1 : i32
    %3 = arith.addi %r, %2 : i32
    linalg.yield %3 : i32
  } -> tensor<2x3x5xi32>
  return %u : tensor<2x3x5xi32>
}
