// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-tasks{vector-bits=128},canonicalize,cse))' | FileCheck %s

#data = affine_map<(c, k, l) -> (c, l + k)>
#kernel = affine_map<(c, k, l) -> (c, k)>
#out = affine_map<(c, k, l) -> (c, l)>

// Sums of four terms, of which neighbours read neighbours: four vectors of a row
// have them in registers, from zero on, then one, then half a one; the last one
// ends with the row, where sums are computed twice. Shorter rows have them in memory.
// CHECK-LABEL: @taps
// CHECK-SAME: %[[X:[^:]*]]: memref<8x?xf32>, %[[W:[^:]*]]: memref<8x4xf32>, %[[Y:.*]]: memref<8x?xf32>
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK: scf.for %[[J:.*]] = %{{.*}} to %[[REST:.*]] step %c16
// CHECK-NEXT: %[[SUMS:.*]]:4 = scf.for %[[K:.*]] = %c0 to %c4 step %c1 iter_args({{.*}}) -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>)
// CHECK-DAG: %[[AT:.*]] = affine.apply {{.*}}(%{{.*}})
// CHECK-DAG: vector.load %[[X]][%{{.*}}, %[[AT]]]
// CHECK-DAG: memref.load %[[W]][%{{.*}}, %[[K]]]
// CHECK: vector.store %[[SUMS]]#0, %[[Y]][%{{.*}}, %[[J]]]
// CHECK: %[[NEXT:.*]] = arith.addi %[[J]], %c4
// CHECK: vector.store %[[SUMS]]#1, %[[Y]][%{{.*}}, %[[NEXT]]]
// CHECK: scf.for %[[J:.*]] = %[[REST]] to %[[WHOLE:.*]] step %c4
// CHECK-NEXT: scf.for %{{.*}} -> (vector<4xf32>)
// CHECK: vector.store %{{.*}}, %[[Y]][%{{.*}}, %[[J]]]
// CHECK: scf.for %{{.*}} = %[[WHOLE]] to %[[HALVES:.*]] step %c2
// CHECK-NEXT: scf.for %{{.*}} -> (vector<2xf32>)
// CHECK: %[[LONG:.*]] = arith.cmpi sge, %{{.*}}, %c2
// CHECK: %[[LEFT:.*]] = arith.select %[[LONG]], %[[END:.*]], %[[HALVES]]
// CHECK: scf.if
// CHECK-NEXT: %[[LAST:.*]] = arith.subi %[[END]], %c2
// CHECK: vector.store %{{.*}}, %[[Y]][%{{.*}}, %[[LAST]]]
// CHECK: scf.for %[[J:.*]] = %[[LEFT]]
// CHECK-NEXT: memref.store %{{cst.*}}, %[[Y]][%{{.*}}, %[[J]]]
// CHECK: scf.for %{{.*}} = %c0 to %c4
// CHECK-NEXT: scf.for %{{.*}} = %[[LEFT]]
// CHECK: memref.store %{{.*}}, %[[Y]]
// CHECK-NOT: linalg.fill
// CHECK: return
func.func @taps(%x: memref<8x?xf32>, %w: memref<8x4xf32>, %y: memref<8x?xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<8x?xf32>)
  linalg.generic {indexing_maps = [#data, #kernel, #out], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%x, %w : memref<8x?xf32>, memref<8x4xf32>) outs(%y : memref<8x?xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// Of more terms, neighbours in memory are read in longer runs.
// CHECK-LABEL: @many_terms
// CHECK-NOT: vector
// CHECK: return
func.func @many_terms(%x: memref<8x?xf32>, %w: memref<8x400xf32>, %y: memref<8x?xf32>) {
  linalg.generic {indexing_maps = [#data, #kernel, #out], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%x, %w : memref<8x?xf32>, memref<8x400xf32>) outs(%y : memref<8x?xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}
