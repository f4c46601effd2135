// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-tasks{grain=64},canonicalize))' | FileCheck %s

// Rows are segments of at most 64 elements; a task takes as many as make 64.
// CHECK-LABEL: @elementwise
// CHECK-SAME: %[[A:[^,]*]]: memref<?x?xf32>, %[[B:.*]]: memref<?x?xf32>
// CHECK: %[[LENGTH:.*]] = arith.minsi %{{.*}}, %c64
// CHECK: %[[PARTS:.*]] = arith.ceildivsi %{{.*}}, %[[LENGTH]]
// CHECK: %[[CHUNK:.*]] = arith.ceildivsi %c64, %{{.*}}
// CHECK: %[[SEGMENTS:.*]] = arith.muli %{{.*}}, %[[PARTS]]
// CHECK: %[[COUNT:.*]] = arith.ceildivsi %[[SEGMENTS]], %[[CHUNK]]
// CHECK: scf.parallel (%[[T:.*]]) = (%c0) to (%[[COUNT]]) step (%c1)
// CHECK: scf.for %[[S:.*]] =
// CHECK-DAG: %[[ROW:.*]] = arith.divui %[[S]], %[[PARTS]]
// CHECK-DAG: %[[PART:.*]] = arith.remui %[[S]], %[[PARTS]]
// CHECK: %[[BEGIN:.*]] = arith.muli %[[PART]], %c64
// CHECK: scf.for %[[J:.*]] = %[[BEGIN]] to
// CHECK: memref.load %[[A]][%[[ROW]], %[[J]]]
// CHECK-NOT: memref.load %[[B]]
// CHECK: memref.store %{{.*}}, %[[B]][%[[ROW]], %[[J]]]
func.func @elementwise(%a: memref<?x?xf32>, %b: memref<?x?xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      ins(%a : memref<?x?xf32>) outs(%b : memref<?x?xf32>) {
  ^bb0(%x: f32, %old: f32):
    %y = arith.addf %x, %x : f32
    linalg.yield %y : f32
  }
  return
}

// The sum of a row stays in a register, and its length counts as work.
// CHECK-LABEL: @row_sum
// CHECK-SAME: %[[A:[^,]*]]: memref<?x128xf32>, %[[B:.*]]: memref<?xf32>
// CHECK: scf.parallel
// CHECK: scf.for %[[I:.*]] =
// CHECK: %[[INIT:.*]] = memref.load %[[B]][%[[I]]]
// CHECK: %[[SUM:.*]] = scf.for %[[J:.*]] = %c0 to %c128 step %c1 iter_args(%[[ACC:.*]] = %[[INIT]])
// CHECK: memref.load %[[A]][%[[I]], %[[J]]]
// CHECK: arith.addf
// CHECK: memref.store %[[SUM]], %[[B]][%[[I]]]
func.func @row_sum(%a: memref<?x128xf32>, %b: memref<?xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x128xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %y = arith.addf %acc, %x : f32
    linalg.yield %y : f32
  }
  return
}

// The sum of a column walks rows outside, so that the innermost loop is contiguous.
// CHECK-LABEL: @column_sum
// CHECK-SAME: %[[A:[^,]*]]: memref<?x?xf32>, %[[B:.*]]: memref<?xf32>
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK: scf.for %[[I:.*]] = %c0
// CHECK: scf.for %[[J:.*]] =
// CHECK: memref.load %[[B]][%[[J]]]
// CHECK: memref.load %[[A]][%[[I]], %[[J]]]
// CHECK: memref.store %{{.*}}, %[[B]][%[[J]]]
func.func @column_sum(%a: memref<?x?xf32>, %b: memref<?xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>], iterator_types = ["reduction", "parallel"]}
      ins(%a : memref<?x?xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %y = arith.addf %acc, %x : f32
    linalg.yield %y : f32
  }
  return
}

// CHECK-LABEL: @indices
// CHECK: scf.for
// CHECK: scf.for %[[I:.*]] = %{{.*}} to %{{.*}} step
// CHECK: arith.index_cast %[[I]]
func.func @indices(%b: memref<?xi64>) {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]} outs(%b : memref<?xi64>) {
  ^bb0(%old: i64):
    %i = linalg.index 0 : index
    %y = arith.index_cast %i : index to i64
    linalg.yield %y : i64
  }
  return
}

// CHECK-LABEL: @scalar
// CHECK-SAME: %[[A:.*]]: memref<f32>
// CHECK: memref.store %{{.*}}, %[[A]][]
// CHECK-NOT: linalg
func.func @scalar(%a: memref<f32>, %x: f32) {
  linalg.fill ins(%x : f32) outs(%a : memref<f32>)
  return
}

// What the sums start from and what is done with each of them are in their loop; the other operand is loaded where the map was.
// CHECK-LABEL: @filled_summed_mapped
// CHECK-SAME: %[[A:[^,]*]]: memref<?x128xf32>, %[[B:[^,]*]]: memref<?xf32>, %[[C:[^,]*]]: memref<?xf32>, %[[D:.*]]: memref<f32>
// CHECK-NOT: linalg.fill
// CHECK: %[[FACTOR:.*]] = memref.load %[[D]][]
// CHECK: scf.parallel
// CHECK: %[[SUM:.*]] = scf.for %{{.*}} iter_args(%{{.*}} = %cst)
// CHECK: %[[TERM:.*]] = memref.load %[[C]][%[[I:.*]]]
// CHECK: %[[SCALED:.*]] = arith.mulf %[[SUM]], %[[FACTOR]]
// CHECK: %[[MAPPED:.*]] = arith.addf %[[SCALED]], %[[TERM]]
// CHECK: memref.store %[[MAPPED]], %[[B]][%[[I]]]
// CHECK-NOT: scf.parallel
// CHECK: return
func.func @filled_summed_mapped(%a: memref<?x128xf32>, %b: memref<?xf32>, %c: memref<?xf32>, %d: memref<f32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%b : memref<?xf32>)
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x128xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %y = arith.addf %sum, %x : f32
    linalg.yield %y : f32
  }
  %factor = memref.load %d[] : memref<f32>
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%c : memref<?xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %y = arith.mulf %sum, %factor : f32
    %z = arith.addf %y, %x : f32
    linalg.yield %z : f32
  }
  return
}

// Into another buffer, which may be where the terms of the next sum are: a loop of its own.
// CHECK-LABEL: @mapped_elsewhere
// CHECK: scf.parallel
// CHECK: scf.parallel
func.func @mapped_elsewhere(%a: memref<?x128xf32>, %b: memref<?xf32>, %c: memref<?xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x128xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %y = arith.addf %sum, %x : f32
    linalg.yield %y : f32
  }
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%b : memref<?xf32>) outs(%c : memref<?xf32>) {
  ^bb0(%x: f32, %old: f32):
    %y = arith.addf %x, %x : f32
    linalg.yield %y : f32
  }
  return
}

// Something in between reads the sums.
// CHECK-LABEL: @read_in_between
// CHECK: scf.parallel
// CHECK: memref.load
// CHECK: scf.parallel
func.func @read_in_between(%a: memref<?x128xf32>, %b: memref<?xf32>) -> f32 {
  %c0 = arith.constant 0 : index
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x128xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %y = arith.addf %sum, %x : f32
    linalg.yield %y : f32
  }
  %first = memref.load %b[%c0] : memref<?xf32>
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]} outs(%b : memref<?xf32>) {
  ^bb0(%sum: f32):
    %y = arith.addf %sum, %sum : f32
    linalg.yield %y : f32
  }
  return %first : f32
}

// Short rows have no loop: all of a row is read before any of it is written.
// CHECK-LABEL: @short_rows
// CHECK-SAME: %[[A:[^,]*]]: memref<?x2xi8>, %[[B:.*]]: memref<?x2xf32>
// CHECK: scf.for %[[I:.*]] =
// CHECK-NOT: scf.for
// CHECK: memref.load %[[A]][%[[I]], %c0]
// CHECK: memref.load %[[A]][%[[I]], %c1]
// CHECK: memref.store %{{.*}}, %[[B]][%[[I]], %c0]
// CHECK: memref.store %{{.*}}, %[[B]][%[[I]], %c1]
func.func @short_rows(%a: memref<?x2xi8>, %b: memref<?x2xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      ins(%a : memref<?x2xi8>) outs(%b : memref<?x2xf32>) {
  ^bb0(%x: i8, %old: f32):
    %y = arith.sitofp %x : i8 to f32
    linalg.yield %y : f32
  }
  return
}
