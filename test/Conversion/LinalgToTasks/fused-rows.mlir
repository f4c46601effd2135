// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-tasks{vector-bits=128},canonicalize,cse))' | FileCheck %s

#ij = affine_map<(i, j) -> (i, j)>
#ijk = affine_map<(i, j, k) -> (i, j, k)>
#jk = affine_map<(i, j, k) -> (j, k)>
#i0 = affine_map<(i, j, k) -> (i)>
#i = affine_map<(i, j) -> (i)>

// A task takes 8192 / 512 rows, one after the other. What only these ops use of a
// row is on its stack, the sum too, in views that find it for each row; the sum
// that all elements are divided by is loaded once.
// CHECK-LABEL: @centred
// CHECK-SAME: %[[X:[^,]*]]: memref<?x512xf32>, %[[T:[^,]*]]: memref<?x512xf32>, %[[SUM:[^,]*]]: memref<?xf32>, %[[Y:.*]]: memref<?x512xf32>
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C1:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[C16:.*]] = arith.constant 16 : index
// CHECK-DAG: %[[C512:.*]] = arith.constant 512 : index
// CHECK: %[[N:.*]] = memref.dim
// CHECK: scf.parallel (%[[TASK:.*]]) =
// CHECK-NEXT: %[[ROW:.*]] = memref.alloca() {alignment = 64 : i64} : memref<512xf32>
// CHECK: %[[T0:.*]] = memref.reinterpret_cast %[[ROW]] to offset: [0], sizes: [%{{.*}}, 512], strides: [0, 1] : memref<512xf32> to memref<?x512xf32, strided<[0, 1]>>
// CHECK: %[[ONE:.*]] = memref.alloca() {alignment = 64 : i64} : memref<1xf32>
// CHECK: %[[S0:.*]] = memref.reinterpret_cast %[[ONE]] to offset: [0], sizes: [%{{.*}}], strides: [0] : memref<1xf32> to memref<?xf32, strided<[0]>>
// CHECK: %[[FIRST:.*]] = arith.muli %[[TASK]], %[[C16]]
// CHECK: %[[END:.*]] = arith.addi %[[FIRST]], %[[C16]]
// CHECK: %[[LAST:.*]] = arith.minsi %[[END]], %[[N]]
// CHECK: scf.for %[[I:.*]] = %[[FIRST]] to %[[LAST]] step %[[C1]] {
// CHECK-NEXT: scf.for %[[J:.*]] = %[[C0]] to %[[C512]] step %[[C16]] {
// CHECK: %[[A:.*]] = vector.load %[[X]][%[[I]], %[[J]]]
// CHECK: %[[SQUARE:.*]] = arith.mulf %[[A]], %[[A]] : vector<4xf32>
// CHECK: vector.store %[[SQUARE]], %[[T0]][%[[I]], %[[J]]]
// CHECK: scf.for
// CHECK: vector.load %[[T0]]
// CHECK: memref.store %{{.*}}, %[[S0]][%[[I]]]
// CHECK: %[[S:.*]] = memref.load %[[S0]][%[[I]]]
// CHECK: scf.for %[[J:.*]] =
// CHECK-NOT: memref.load %[[S0]]
// CHECK: %[[ALL:.*]] = vector.broadcast %[[S]] : f32 to vector<4xf32>
// CHECK: arith.divf %{{.*}}, %[[ALL]]
// CHECK: vector.store %{{.*}}, %[[Y]][%[[I]], %[[J]]]
// CHECK-NOT: scf.parallel
// CHECK: return
func.func @centred(%x: memref<?x512xf32>, %t: memref<?x512xf32>, %sum: memref<?xf32>, %y: memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  megactx.fused_rows scratch(%t, %sum : memref<?x512xf32>, memref<?xf32>) {
    linalg.generic {indexing_maps = [#ij, #ij], iterator_types = ["parallel", "parallel"]}
        ins(%x : memref<?x512xf32>) outs(%t : memref<?x512xf32>) {
    ^bb0(%a: f32, %old: f32):
      %0 = arith.mulf %a, %a : f32
      linalg.yield %0 : f32
    }
    linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%t : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s fastmath<reassoc> : f32
      linalg.yield %0 : f32
    }
    linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
        ins(%t, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
    ^bb0(%a: f32, %s: f32, %old: f32):
      %0 = arith.divf %a, %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}

// Rows of several loops. How long one is is not known: what is of it stays in
// memory.
// CHECK-LABEL: @several_loops
// CHECK-SAME: %[[X:[^,]*]]: memref<?x4x?xf32>, %[[T:[^,]*]]: memref<?x4x?xf32>, %[[TOP:[^,]*]]: memref<?xf32>, %[[W:[^,]*]]: memref<4x?xf32>
// CHECK: scf.parallel
// CHECK-NOT: memref<?x4x?xf32, strided
// CHECK: memref.alloca() {{.*}} : memref<1xf32>
// CHECK: scf.for %[[I:.*]] =
// CHECK: scf.for %{{.*}} = %c0 to %c4
// CHECK: memref.store %{{.*}}, %{{.*}}[%[[I]]]
// CHECK: memref.load %{{.*}}[%[[I]]]
// CHECK: scf.for %[[J:.*]] = %c0 to %c4
// CHECK: scf.for %[[K:.*]] = %c0 to
// CHECK: memref.load %[[W]][%[[J]], %[[K]]]
// CHECK: memref.store %{{.*}}, %[[T]][%[[I]], %[[J]], %[[K]]]
// CHECK-NOT: scf.parallel
// CHECK: return
func.func @several_loops(%x: memref<?x4x?xf32>, %t: memref<?x4x?xf32>, %top: memref<?xf32>, %w: memref<4x?xf32>) {
  %low = arith.constant 0xFF800000 : f32
  megactx.fused_rows scratch(%t, %top : memref<?x4x?xf32>, memref<?xf32>) {
    linalg.fill ins(%low : f32) outs(%top : memref<?xf32>)
    linalg.generic {indexing_maps = [#ijk, #i0], iterator_types = ["parallel", "reduction", "reduction"]}
        ins(%x : memref<?x4x?xf32>) outs(%top : memref<?xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.maximumf %a, %s : f32
      linalg.yield %0 : f32
    }
    linalg.generic {indexing_maps = [#ijk, #i0, #jk, #ijk], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%x, %top, %w : memref<?x4x?xf32>, memref<?xf32>, memref<4x?xf32>) outs(%t : memref<?x4x?xf32>) {
    ^bb0(%a: f32, %s: f32, %b: f32, %old: f32):
      %0 = arith.subf %a, %s : f32
      %1 = arith.mulf %0, %b : f32
      linalg.yield %1 : f32
    }
  }
  return
}

// Within a task there is no stack that ends with each of its own.
// CHECK-LABEL: @within_a_task
// CHECK: scf.parallel
// CHECK-NOT: alloca
// CHECK: return
func.func @within_a_task(%x: memref<?x512xf32>, %sum: memref<?xf32>, %y: memref<?x512xf32>, %n: index) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%task) = (%c0) to (%n) step (%c1) {
    megactx.fused_rows scratch(%sum : memref<?xf32>) {
      linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
      linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
          ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
      ^bb0(%a: f32, %s: f32):
        %0 = arith.addf %a, %s fastmath<reassoc> : f32
        linalg.yield %0 : f32
      }
      linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
          ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
      ^bb0(%a: f32, %s: f32, %old: f32):
        %0 = arith.divf %a, %s : f32
        linalg.yield %0 : f32
      }
    }
  }
  return
}
