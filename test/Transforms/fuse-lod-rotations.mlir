// RUN: megactx-opt %s --megactx-fuse-lod --canonicalize --cse --remarks-filter=fuse-lod 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

#id = affine_map<(b, h, i, d) -> (b, h, i, d)>
#turned = affine_map<(b, h, i, d) -> (b, i, h, d)>
#table = affine_map<(b, h, i, d) -> (b, i, d)>
!x = tensor<1x?x2x8xf32>
!q = tensor<1x2x?x8xf32>
!half = tensor<1x2x?x4xf32>
!table = tensor<1x?x4xf32>

// Heads transposed, halves sliced, turned and joined: one read of each row.
// REMARK: remark: [Passed] rotation-fused | Category:fuse-lod | Function=halves | Remark="tensor<1x2x?x8xf32> in one pass, which were 7 operations"
// CHECK-DAG: #[[ROW:.+]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d2, d1, d4)>
// CHECK-DAG: #[[TABLE:.+]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d2, d4)>
// CHECK-LABEL: @halves
// CHECK-SAME: %[[X:.+]]: tensor<1x?x2x8xf32>, %[[COS:.+]]: tensor<1x?x4xf32>, %[[SIN:.+]]: tensor<1x?x4xf32>
// CHECK: %[[EMPTY:.+]] = tensor.empty(%[[N:.+]]) : tensor<1x2x?x2x4xf32>
// CHECK-DAG: %[[LOW:.+]] = tensor.extract_slice %[[X]][0, 0, 0, 0] [1, %[[N]], 2, 4]
// CHECK-DAG: %[[HIGH:.+]] = tensor.extract_slice %[[X]][0, 0, 0, 4] [1, %[[N]], 2, 4]
// CHECK-DAG: %[[C:.+]] = tensor.extract_slice %[[COS]][0, 0, 0] [1, %[[N]], 4]
// CHECK-DAG: %[[S:.+]] = tensor.extract_slice %[[SIN]][0, 0, 0] [1, %[[N]], 4]
// CHECK: %[[R:.+]] = linalg.generic {indexing_maps = [#[[ROW]], #[[TABLE]], #[[ROW]], #[[TABLE]], #{{.+}}], {{.*}} ins(%[[LOW]], %[[C]], %[[HIGH]], %[[S]]
// CHECK: ^bb0(%[[A:.+]]: f32, %[[C:.+]]: f32, %[[B:.+]]: f32, %[[S:.+]]: f32, %{{.+}}: f32):
// CHECK-DAG: %[[AC:.+]] = arith.mulf %[[A]], %[[C]]
// CHECK-DAG: %[[BS:.+]] = arith.mulf %[[B]], %[[S]]
// CHECK-DAG: %[[FIRST:.+]] = arith.subf %[[AC]], %[[BS]]
// CHECK-DAG: %[[BC:.+]] = arith.mulf %[[B]], %[[C]]
// CHECK-DAG: %[[AS:.+]] = arith.mulf %[[A]], %[[S]]
// CHECK-DAG: %[[SECOND:.+]] = arith.addf %[[BC]], %[[AS]]
// CHECK: arith.select %{{.+}}, %[[FIRST]], %[[SECOND]]
// CHECK: %[[OUT:.+]] = tensor.collapse_shape %[[R]] {{\[\[}}0], [1], [2], [3, 4]] : tensor<1x2x?x2x4xf32> into tensor<1x2x?x8xf32>
// CHECK-NOT: linalg.generic
// CHECK: return %[[OUT]]
func.func @halves(%x: !x, %cos: !table, %sin: !table) -> !q {
  %c1 = arith.constant 1 : index
  %n = tensor.dim %x, %c1 : !x
  %e = tensor.empty(%n) : !q
  %q = linalg.generic {indexing_maps = [#turned, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%x : !x) outs(%e : !q) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  } -> !q
  %low = tensor.extract_slice %q[0, 0, 0, 0] [1, 2, %n, 4] [1, 1, 1, 1] : !q to !half
  %high = tensor.extract_slice %q[0, 0, 0, 4] [1, 2, %n, 4] [1, 1, 1, 1] : !q to !half
  %h = tensor.empty(%n) : !half
  %left = linalg.generic {indexing_maps = [#id, #table, #id, #table, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%low, %cos, %high, %sin : !half, !table, !half, !table) outs(%h : !half) {
  ^bb0(%a: f32, %c: f32, %b: f32, %s: f32, %out: f32):
    %ac = arith.mulf %a, %c : f32
    %bs = arith.mulf %b, %s : f32
    %r = arith.subf %ac, %bs : f32
    linalg.yield %r : f32
  } -> !half
  %right = linalg.generic {indexing_maps = [#id, #table, #id, #table, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%low, %cos, %high, %sin : !half, !table, !half, !table) outs(%h : !half) {
  ^bb0(%a: f32, %c: f32, %b: f32, %s: f32, %out: f32):
    %bc = arith.mulf %b, %c : f32
    %as = arith.mulf %a, %s : f32
    %r = arith.addf %bc, %as : f32
    linalg.yield %r : f32
  } -> !half
  %l = tensor.insert_slice %left into %e[0, 0, 0, 0] [1, 2, %n, 4] [1, 1, 1, 1] : !half into !q
  %r = tensor.insert_slice %right into %l[0, 0, 0, 4] [1, 2, %n, 4] [1, 1, 1, 1] : !half into !q
  return %r : !q
}

#id3 = affine_map<(b, i, d) -> (b, i, d)>
!p = tensor<2x5x8xf32>
!ph = tensor<2x5x4xf32>

// x cos + (-high, low) sin, tables over the whole row: the sum takes the concatenation along.
// REMARK: [Passed] rotation-fused | {{.*}}Function=rotated_by_half
// CHECK-LABEL: @rotated_by_half
// CHECK: linalg.generic {{.*}} outs(%{{.+}} : tensor<2x5x2x4xf32>)
// CHECK:   arith.negf
// CHECK: tensor.collapse_shape
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @rotated_by_half(%x: !p, %cos: !p, %sin: !p) -> !p {
  %e = tensor.empty() : !p
  %h = tensor.empty() : !ph
  %low = tensor.extract_slice %x[0, 0, 0] [2, 5, 4] [1, 1, 1] : !p to !ph
  %high = tensor.extract_slice %x[0, 0, 4] [2, 5, 4] [1, 1, 1] : !p to !ph
  %minus = linalg.generic {indexing_maps = [#id3, #id3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%high : !ph) outs(%h : !ph) {
  ^bb0(%a: f32, %out: f32):
    %r = arith.negf %a : f32
    linalg.yield %r : f32
  } -> !ph
  %l = tensor.insert_slice %minus into %e[0, 0, 0] [2, 5, 4] [1, 1, 1] : !ph into !p
  %half = tensor.insert_slice %low into %l[0, 0, 4] [2, 5, 4] [1, 1, 1] : !ph into !p
  %r = linalg.generic {indexing_maps = [#id3, #id3, #id3, #id3, #id3], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %cos, %half, %sin : !p, !p, !p, !p) outs(%e : !p) {
  ^bb0(%a: f32, %c: f32, %b: f32, %s: f32, %out: f32):
    %ac = arith.mulf %a, %c : f32
    %bs = arith.mulf %b, %s : f32
    %sum = arith.addf %ac, %bs : f32
    linalg.yield %sum : f32
  } -> !p
  return %r : !p
}

// A half that something else needs is computed once, and read.
// REMARK: [Missed] rotation-not-fused | {{.*}}Function=a_half_is_used_elsewhere | Reason="what its halves are made of is used elsewhere, too"
// CHECK-LABEL: @a_half_is_used_elsewhere
// CHECK-COUNT-2: linalg.generic
// CHECK: tensor.insert_slice
// CHECK: tensor.insert_slice
func.func @a_half_is_used_elsewhere(%x: !p, %cos: !ph) -> (!p, !ph) {
  %e = tensor.empty() : !p
  %h = tensor.empty() : !ph
  %low = tensor.extract_slice %x[0, 0, 0] [2, 5, 4] [1, 1, 1] : !p to !ph
  %high = tensor.extract_slice %x[0, 0, 4] [2, 5, 4] [1, 1, 1] : !p to !ph
  %left = linalg.generic {indexing_maps = [#id3, #id3, #id3, #id3], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%low, %high, %cos : !ph, !ph, !ph) outs(%h : !ph) {
  ^bb0(%a: f32, %b: f32, %c: f32, %out: f32):
    %ac = arith.mulf %a, %c : f32
    %r = arith.subf %ac, %b : f32
    linalg.yield %r : f32
  } -> !ph
  %right = linalg.generic {indexing_maps = [#id3, #id3, #id3, #id3], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%low, %high, %cos : !ph, !ph, !ph) outs(%h : !ph) {
  ^bb0(%a: f32, %b: f32, %c: f32, %out: f32):
    %bc = arith.mulf %b, %c : f32
    %r = arith.addf %bc, %a : f32
    linalg.yield %r : f32
  } -> !ph
  %l = tensor.insert_slice %left into %e[0, 0, 0] [2, 5, 4] [1, 1, 1] : !ph into !p
  %r = tensor.insert_slice %right into %l[0, 0, 4] [2, 5, 4] [1, 1, 1] : !ph into !p
  return %r, %left : !p, !ph
}

// Halves of each other's columns, not of both: no rotation.
// CHECK-LABEL: @swapped_halves
// CHECK: tensor.insert_slice
// CHECK: tensor.insert_slice
func.func @swapped_halves(%x: !p) -> !p {
  %e = tensor.empty() : !p
  %low = tensor.extract_slice %x[0, 0, 0] [2, 5, 4] [1, 1, 1] : !p to !ph
  %high = tensor.extract_slice %x[0, 0, 4] [2, 5, 4] [1, 1, 1] : !p to !ph
  %l = tensor.insert_slice %high into %e[0, 0, 0] [2, 5, 4] [1, 1, 1] : !ph into !p
  %r = tensor.insert_slice %low into %l[0, 0, 4] [2, 5, 4] [1, 1, 1] : !ph into !p
  return %r : !p
}
