// RUN: megactx-opt %s --megactx-tile-attention="query-tile=32 key-tile=16" --canonicalize --cse | FileCheck %s

!t = tensor<2x4x?x8xf32>
!r = tensor<2x4x?xf32>

// Keys from the window's begin at the tile's first row to its end at the last.
// CHECK-LABEL: @window_within_bounds
// CHECK: scf.for %[[B:[a-z0-9]+]] = %c0 to %c2 step %c1
// CHECK: scf.for %[[H:[a-z0-9]+]] = %c0 to %c4 step %c1
// CHECK: scf.for %[[I:[a-z0-9]+]] = %c0 to %{{.+}} step %c32
// CHECK: %[[ROWS:.+]] = affine.min #{{.+}}()[%[[I]], %{{.+}}]
// CHECK: %[[END:.+]] = arith.addi %[[I]], %[[ROWS]]
// CHECK: %[[NK:.+]] = tensor.dim %arg1, %c2
// CHECK: %[[LO:.+]] = arith.addi %[[I]], %c-7
// CHECK: %[[HI:.+]] = arith.minsi %[[END]], %[[NK]]
// CHECK: %[[FROM:.+]] = arith.maxsi %[[LO]], %c0
// CHECK: %[[SOME:.+]] = arith.minsi %[[HI]], %[[NK]]
// CHECK: %[[TO:.+]] = arith.maxsi %[[SOME]], %[[FROM]]
// CHECK: scf.for %[[J:[a-z0-9]+]] = %[[FROM]] to %[[TO]] step %c16
// CHECK: affine.min #{{.+}}()[%[[J]], %[[TO]]]
// CHECK: megactx.online_attention {{.*}} origin(%[[B]], %[[H]], %[[I]], %[[J]], %[[NK]])
func.func @window_within_bounds(%q: !t, %k: !t, %v: !t, %acc: !t, %max: !r, %sum: !r) -> !t {
  %l:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<lo<p - 7>, hi<p + 1>> {scale = 1.0 : f32}
      : (!t, !t, !t, !t, !r, !r) -> (!t, !r, !r)
  return %l#0 : !t
}

// CHECK-LABEL: @other_heads_and_rows_see_no_keys
// CHECK: scf.for %[[B:[a-z0-9]+]] =
// CHECK: scf.for %[[H:[a-z0-9]+]] =
// CHECK: scf.for %[[I:[a-z0-9]+]] =
// CHECK: arith.cmpi eq, %{{.+}}, %c2
// CHECK: arith.cmpi slt, %{{.+}}, %c100
// CHECK: arith.cmpi sgt, %[[I]], %c199
// CHECK: %[[TO:.+]] = arith.select %{{.+}}, %c0, %{{.+}}
// CHECK: scf.for %{{[a-z0-9]+}} = %c0 to %[[TO]]
func.func @other_heads_and_rows_see_no_keys(%q: !t, %acc: !t, %max: !r, %sum: !r) -> !t {
  %l:3 = megactx.online_attention %q, %q, %q outs(%acc, %max, %sum) #megactx.piece<heads<h == 2>, rows<100, 200>> {scale = 1.0 : f32}
      : (!t, !t, !t, !t, !r, !r) -> (!t, !r, !r)
  return %l#0 : !t
}
