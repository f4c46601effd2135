// RUN: megactx-opt %s --transform-interpreter --canonicalize --cse --split-input-file --verify-diagnostics | FileCheck %s

!q = tensor<2x4x?x8xf32>
!k = tensor<2x2x?x8xf32>
!row = tensor<2x4x?xf32>

// Every tile knows where it begins; a tile of one head has its key head.
// CHECK-LABEL: @tile_by_batch_head_row_key
// CHECK-SAME: %[[Q:.+]]: tensor<2x4x?x8xf32>, %[[K:.+]]: tensor<2x2x?x8xf32>, %[[BIAS:.+]]: tensor<1x4x?x?xf32>, %[[LEN:.+]]: tensor<2xindex>
// CHECK-DAG: %[[NK:.+]] = tensor.dim %[[K]], %c2
// CHECK: scf.for %[[B:[a-z0-9]+]] = %c0
// CHECK: scf.for %[[H:[a-z0-9]+]] = %c0
// CHECK: scf.for %[[I:[a-z0-9]+]] = %c0
// CHECK: scf.for %[[J:[a-z0-9]+]] = %c0
// CHECK: %[[HK:.+]] = affine.apply #{{.+}}()[%[[H]]]
// CHECK: %[[QT:.+]] = tensor.extract_slice %[[Q]][%[[B]], %[[H]], %[[I]], 0] [1, 1, %[[N:.+]], 8]
// CHECK: %[[KT:.+]] = tensor.extract_slice %[[K]][%[[B]], %[[HK]], %[[J]], 0] [1, 1, %[[M:.+]], 8]
// CHECK: %[[BT:.+]] = tensor.extract_slice %[[BIAS]][0, %[[H]], %{{.+}}, %{{.+}}] [1, 1, %{{.+}}, %{{.+}}]
// CHECK: %[[LT:.+]] = tensor.extract_slice %[[LEN]][%[[B]]] [1]
// CHECK: megactx.online_attention %[[QT]], %[[KT]], %[[KT]] bias(%[[BT]]) lengths(%[[LT]])
// CHECK-SAME: origin(%[[B]], %[[H]], %[[I]], %[[J]], %[[NK]])
// CHECK: tensor.insert_slice
func.func @tile_by_batch_head_row_key(%q: !q, %k: !k, %bias: tensor<1x4x?x?xf32>, %lengths: tensor<2xindex>, %acc: !q, %max: !row, %sum: !row) -> (!q, !row, !row) {
  %l:3 = megactx.online_attention %q, %k, %k bias(%bias) lengths(%lengths) outs(%acc, %max, %sum) #megactx.piece<hi<p + 1>> {scale = 1.0 : f32}
      : (!q, !k, !k, tensor<1x4x?x?xf32>, tensor<2xindex>, !q, !row, !row) -> (!q, !row, !row)
  return %l#0, %l#1, %l#2 : !q, !row, !row
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["megactx.online_attention"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loops:4 = transform.structured.tile_using_for %op tile_sizes [1, 1, 16, 32]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

!q = tensor<2x4x?x8xf32>
!row = tensor<2x4x?xf32>

// A tile of a tile: origins add up.
// CHECK-LABEL: @tile_of_a_tile
// CHECK: scf.for %[[I:[a-z0-9]+]] =
// CHECK: %[[ROW:.+]] = arith.addi %{{.+}}, %[[I]]
// CHECK: megactx.online_attention {{.*}} origin(%[[B:.+]], %[[B]], %[[ROW]], %[[B]], %[[B]])
func.func @tile_of_a_tile(%q: !q, %acc: !q, %max: !row, %sum: !row, %n: index) -> !q {
  %l:3 = megactx.online_attention %q, %q, %q origin(%n, %n, %n, %n, %n) outs(%acc, %max, %sum) #megactx.piece<hi<p + 1>> {scale = 1.0 : f32}
      : (!q, !q, !q, index, index, index, index, index, !q, !row, !row) -> (!q, !row, !row)
  return %l#0 : !q
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["megactx.online_attention"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [0, 0, 16]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

!q = tensor<2x4x?x8xf32>
!row = tensor<2x4x?xf32>

// The parts' states start empty, lie side by side and are merged into the op's own.
// CHECK-LABEL: @split_keys
// CHECK-DAG: %[[LEAST:.+]] = arith.constant 0xFF800000 : f32
// CHECK: %[[ACCS:.+]] = linalg.fill {{.*}} tensor<?x2x4x?x8xf32>
// CHECK: %[[MAXES:.+]] = linalg.fill ins(%[[LEAST]] : f32) {{.*}} tensor<?x2x4x?xf32>
// CHECK: %[[P:.+]]:3 = scf.forall (%[[S:.+]]) {{.*}} shared_outs(%[[A:.+]] = %[[ACCS]], %[[M:.+]] = %[[MAXES]]
// CHECK: tensor.extract_slice %[[A]][%[[S2:.+]], 0, 0, 0, 0] [1, 2, 4, %{{.+}}, 8] {{.*}} to tensor<2x4x?x8xf32>
// CHECK: megactx.online_attention
// CHECK: tensor.parallel_insert_slice
// CHECK: %[[MAX:.+]] = linalg.generic {{.*}} iterator_types = ["reduction", "parallel", "parallel", "parallel"]} ins(%[[P]]#1
// CHECK:   arith.maximumf
// CHECK: math.exp
// CHECK: %[[SUM:.+]] = linalg.generic {{.*}} ins(%[[P]]#2, %[[P]]#1, %[[MAX]]
// CHECK: %[[ACC:.+]] = linalg.generic {{.*}} ins(%[[P]]#0, %[[P]]#1, %[[MAX]]
// CHECK: return %[[ACC]], %[[MAX]], %[[SUM]]
func.func @split_keys(%q: !q, %k: !q, %acc: !q, %max: !row, %sum: !row) -> (!q, !row, !row) {
  %l:3 = megactx.online_attention %q, %k, %k outs(%acc, %max, %sum) #megactx.piece<hi<p + 1>> {scale = 1.0 : f32}
      : (!q, !q, !q, !q, !row, !row) -> (!q, !row, !row)
  return %l#0, %l#1, %l#2 : !q, !row, !row
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["megactx.online_attention"]} in %root : (!transform.any_op) -> !transform.any_op
    %fill:3, %split, %merge:5, %loop = transform.structured.tile_reduction_using_forall %op by tile_sizes = [0, 0, 0, 64]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

!q = tensor<2x4x?x8xf32>
!k = tensor<2x2x?x8xf32>
!row = tensor<2x4x?xf32>

func.func @tile_of_heads_across_groups(%q: !q, %k: !k, %acc: !q, %max: !row, %sum: !row) -> !q {
  // expected-error@+2 {{faild to tile operation}}
  // expected-error@+1 {{failed to generate tiling loops}}
  %l:3 = megactx.online_attention %q, %k, %k outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (!q, !k, !k, !q, !row, !row) -> (!q, !row, !row)
  return %l#0 : !q
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["megactx.online_attention"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [0, 3]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
