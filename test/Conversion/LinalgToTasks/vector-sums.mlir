// RUN: megactx-opt %s --megactx-convert-linalg-to-tasks | FileCheck %s

#a = affine_map<(n, k, m, l) -> (k, m, l)>
#w = affine_map<(n, k, m, l) -> (n, k, l)>
#s = affine_map<(n, k, m, l) -> (n, k)>
#o = affine_map<(n, k, m, l) -> (n, m, l)>

// Sums along a short row outside of its loop: the row is a vector, and so many rows that are within the reduction are summed at a time.
// CHECK-LABEL: @sums
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK-COUNT-2: vector.load {{.*}} : memref<?x2x16xf32>, vector<16xf32>
// CHECK: scf.for {{.*}} iter_args(%[[P:.*]] = %{{.*}}, %[[Q:.*]] = %{{.*}}) -> (vector<16xf32>, vector<16xf32>)
// CHECK: %[[BYTES:.*]] = vector.load {{.*}} : memref<?x?x16xi8>, vector<16xi8>
// CHECK: %[[SCALE:.*]] = memref.load {{.*}} : memref<?x?xf32>
// CHECK: arith.sitofp %[[BYTES]] : vector<16xi8> to vector<16xf32>
// CHECK: vector.broadcast %[[SCALE]] : f32 to vector<16xf32>
// CHECK: %[[SUM:.*]] = arith.addf %[[P]], %{{.*}} : vector<16xf32>
// CHECK: %[[NEXT:.*]] = arith.addf %[[Q]], %{{.*}} : vector<16xf32>
// CHECK: scf.yield %[[SUM]], %[[NEXT]]
// CHECK-COUNT-2: vector.store {{.*}} : memref<?x2x16xf32>, vector<16xf32>
func.func @sums(%a: memref<?x2x16xf32>, %w: memref<?x?x16xi8>, %s: memref<?x?xf32>, %o: memref<?x2x16xf32>) {
  linalg.generic {indexing_maps = [#a, #w, #s, #o], iterator_types = ["parallel", "reduction", "parallel", "parallel"]}
      ins(%a, %w, %s : memref<?x2x16xf32>, memref<?x?x16xi8>, memref<?x?xf32>) outs(%o : memref<?x2x16xf32>) {
  ^bb0(%x: f32, %byte: i8, %scale: f32, %sum: f32):
    %y = arith.sitofp %byte : i8 to f32
    %z = arith.mulf %y, %scale : f32
    %t = arith.mulf %x, %z : f32
    %r = arith.addf %sum, %t : f32
    linalg.yield %r : f32
  }
  return
}

// Within a task, rows before the reduction are summed at a time too. No vector is
// longer than a register.
// CHECK-LABEL: @sums_in_a_task
// CHECK: scf.parallel
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK-LABEL: @sums_as_tasks
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>)
#state = affine_map<(r, k, l) -> (k, l)>
#readers = affine_map<(r, k, l) -> (r, k)>
#found = affine_map<(r, k, l) -> (r, l)>
func.func @sums_in_a_task(%a: memref<?x32xf32>, %w: memref<2x?xf32>, %o: memref<2x32xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    linalg.generic {indexing_maps = [#state, #readers, #found], iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%a, %w : memref<?x32xf32>, memref<2x?xf32>) outs(%o : memref<2x32xf32>) {
    ^bb0(%x: f32, %y: f32, %sum: f32):
      %z = arith.mulf %x, %y : f32
      %r = arith.addf %sum, %z : f32
      linalg.yield %r : f32
    }
  }
  return
}
func.func @sums_as_tasks(%a: memref<?x32xf32>, %w: memref<2x?xf32>, %o: memref<2x32xf32>) {
  linalg.generic {indexing_maps = [#state, #readers, #found], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%a, %w : memref<?x32xf32>, memref<2x?xf32>) outs(%o : memref<2x32xf32>) {
  ^bb0(%x: f32, %y: f32, %sum: f32):
    %z = arith.mulf %x, %y : f32
    %r = arith.addf %sum, %z : f32
    linalg.yield %r : f32
  }
  return
}

// Rows that LLVM would make vectors across are vectors, shorter ones are not.
// CHECK-LABEL: @maps
// CHECK: %[[X:.*]] = vector.load {{.*}} : memref<?x16xf32>, vector<16xf32>
// CHECK: %[[Y:.*]] = memref.load {{.*}} : memref<?x1xf32>
// CHECK: vector.broadcast %[[Y]]
// CHECK: vector.store {{.*}} : memref<?x16xf32>, vector<16xf32>
// CHECK-LABEL: @short_maps
// CHECK-NOT: vector
func.func @maps(%a: memref<?x16xf32>, %c: memref<?x1xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, 0)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      ins(%a, %c : memref<?x16xf32>, memref<?x1xf32>) outs(%a : memref<?x16xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %r = arith.mulf %x, %y : f32
    linalg.yield %r : f32
  }
  return
}
func.func @short_maps(%a: memref<?x8xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      ins(%a : memref<?x8xf32>) outs(%a : memref<?x8xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = arith.negf %x : f32
    linalg.yield %r : f32
  }
  return
}

// Rows of another length, rows apart in memory, and functions that are calls, stay loops.
// CHECK-LABEL: @loops
// CHECK-NOT: vector
func.func @loops(%a: memref<?x?x12xf32>, %o: memref<?x12xf32>, %apart: memref<?x?x16xf32, strided<[?, 32, 2]>>, %p: memref<?x16xf32>) {
  linalg.generic {indexing_maps = [affine_map<(n, k, l) -> (n, k, l)>, affine_map<(n, k, l) -> (n, l)>], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%a : memref<?x?x12xf32>) outs(%o : memref<?x12xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %r = arith.addf %sum, %x : f32
    linalg.yield %r : f32
  }
  linalg.generic {indexing_maps = [affine_map<(n, k, l) -> (k, l)>, affine_map<(n, k, l) -> (n, l)>], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%p : memref<?x16xf32>) outs(%p : memref<?x16xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %y = math.asinh %x : f32
    %r = arith.addf %sum, %y : f32
    linalg.yield %r : f32
  }
  linalg.generic {indexing_maps = [affine_map<(n, k, l) -> (n, k, l)>, affine_map<(n, k, l) -> (n, l)>], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%apart : memref<?x?x16xf32, strided<[?, 32, 2]>>) outs(%p : memref<?x16xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %r = arith.addf %sum, %x : f32
    linalg.yield %r : f32
  }
  return
}

// A sum in any order along its innermost loop: partial sums side by side in vectors, some for each row. Elements that
// serve several neighbours are loaded once for them.
// CHECK-LABEL: @partial_sums
// CHECK: scf.parallel
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
// CHECK-COUNT-2: vector.reduction <add>, {{.*}} fastmath<reassoc> : vector<16xf32> into f32
// CHECK: scf.parallel
// CHECK: %[[BYTES:.*]] = vector.load {{.*}} : memref<?x256xi8>, vector<16xi8>
// CHECK: %[[SCALES:.*]] = vector.load {{.*}} : memref<?x32xf32>, vector<2xf32>
// CHECK: vector.shuffle %[[SCALES]], %[[SCALES]] [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
// CHECK: vector.reduction <add>, {{.*}} fastmath<reassoc> : vector<16xf32> into f32
// CHECK-LABEL: @ragged_maxima
// CHECK: scf.for {{.*}} -> (vector<16xf32>) {
// CHECK: arith.maximumf {{.*}} : vector<16xf32>
// CHECK: scf.for {{.*}} -> (f32) {
// CHECK: arith.maximumf {{.*}} : f32
// CHECK: vector.reduction <maximumf>
// CHECK-LABEL: @sums_of_no_rows
// CHECK: vector.reduction
// CHECK-LABEL: @sums_in_order
// CHECK-NOT: vector
#bytes = affine_map<(i, k) -> (i, k)>
#scales = affine_map<(i, k) -> (i, k floordiv 8)>
#row = affine_map<(i, k) -> (i)>
func.func @partial_sums(%w: memref<?x256xi8>, %s: memref<?x32xf32>, %o: memref<?xf32>, %two: memref<2x256xf32>, %sums: memref<2xf32>) {
  linalg.generic {indexing_maps = [#bytes, #row], iterator_types = ["parallel", "reduction"]}
      ins(%two : memref<2x256xf32>) outs(%sums : memref<2xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %r = arith.addf %sum, %x fastmath<reassoc> : f32
    linalg.yield %r : f32
  }
  linalg.generic {indexing_maps = [#bytes, #scales, #row], iterator_types = ["parallel", "reduction"]}
      ins(%w, %s : memref<?x256xi8>, memref<?x32xf32>) outs(%o : memref<?xf32>) {
  ^bb0(%byte: i8, %scale: f32, %sum: f32):
    %y = arith.sitofp %byte : i8 to f32
    %z = arith.mulf %y, %scale : f32
    %r = arith.addf %sum, %z fastmath<reassoc> : f32
    linalg.yield %r : f32
  }
  return
}
func.func @ragged_maxima(%a: memref<?x?xf32>, %o: memref<?xf32>) {
  linalg.generic {indexing_maps = [#bytes, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x?xf32>) outs(%o : memref<?xf32>) {
  ^bb0(%x: f32, %most: f32):
    %r = arith.maximumf %most, %x : f32
    linalg.yield %r : f32
  }
  return
}
func.func @sums_of_no_rows(%a: memref<0x256xf32>, %o: memref<0xf32>) {
  linalg.generic {indexing_maps = [#bytes, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<0x256xf32>) outs(%o : memref<0xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %r = arith.addf %sum, %x fastmath<reassoc> : f32
    linalg.yield %r : f32
  }
  return
}
func.func @sums_in_order(%a: memref<?x256xf32>, %o: memref<?xf32>) {
  linalg.generic {indexing_maps = [#bytes, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x256xf32>) outs(%o : memref<?xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %r = arith.addf %sum, %x : f32
    linalg.yield %r : f32
  }
  return
}
