// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-gpu,canonicalize))' | FileCheck %s

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>
#j = affine_map<(i, j) -> (j)>

// Threads along a row of unknown length: 256 of them, four elements each, one by
// one.
// CHECK-LABEL: @elements
// CHECK-SAME: %[[A:[^,]*]]: memref<?x?xi1>, %[[B:.*]]: memref<?x?xi1>
// CHECK: arith.ceildivsi %{{.*}}, %c1024
// CHECK: gpu.launch blocks(%[[BLOCK:[^,]*]], {{.*}} threads(%[[THREAD:[^,]*]], {{.*}} = %c256
// CHECK: arith.divui
// CHECK: arith.cmpi ult
// CHECK: scf.if
// CHECK: scf.for %[[COLUMN:.*]] = %{{.*}} to %{{.*}} step %c256
// CHECK: %[[X:.*]] = memref.load %[[A]][%[[ROW:.*]], %[[COLUMN]]]
// CHECK-NOT: memref.load %[[B]]
// CHECK: %[[Y:.*]] = arith.addi %[[X]], %[[X]]
// CHECK: memref.store %[[Y]], %[[B]][%[[ROW]], %[[COLUMN]]]
// CHECK: gpu.terminator
// CHECK: megactx.kernel = "elements"
// CHECK-NOT: linalg
func.func @elements(%a: memref<?x?xi1>, %b: memref<?x?xi1>) {
  linalg.generic {indexing_maps = [#ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%a : memref<?x?xi1>) outs(%b : memref<?x?xi1>) {
  ^bb0(%x: i1, %old: i1):
    %y = arith.addi %x, %x : i1
    linalg.yield %y : i1
  }
  return
}

// Of rows of 32 a block takes 32, four elements a thread.
// CHECK-LABEL: @short_rows_share_a_block
// CHECK: gpu.launch
// CHECK-DAG: arith.remui %{{.*}}, %c8
// CHECK-DAG: arith.divui %{{.*}}, %c8
// CHECK-DAG: arith.muli %{{.*}}, %c32
// CHECK: megactx.kernel = "elements"
func.func @short_rows_share_a_block(%a: memref<?x32xf32>, %b: memref<?x32xf32>) {
  linalg.generic {indexing_maps = [#ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%a : memref<?x32xf32>) outs(%b : memref<?x32xf32>) {
  ^bb0(%x: f32, %old: f32):
    %y = arith.negf %x : f32
    linalg.yield %y : f32
  }
  return
}

// A warp for each row, a vector each lane, the fill within its kernel; lanes
// combine by shuffles.
// CHECK-LABEL: @row_sum_in_a_warp
// CHECK-SAME: %[[A:[^,]*]]: memref<?x768xf32>, %[[B:.*]]: memref<?xf32>
// CHECK-NOT: linalg.fill
// CHECK: gpu.launch
// CHECK-NOT: dynamic_shared_memory_size
// CHECK-NOT: scf.for
// CHECK-COUNT-6: vector.load %[[A]]{{.*}} vector<4xf32>
// CHECK-COUNT-24: arith.addf
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK: scf.if
// CHECK-NOT: memref.load %[[B]]
// CHECK: memref.store %{{.*}}, %[[B]]
// CHECK: megactx.kernel = "reduce_rows"
// CHECK-NOT: gpu.launch
func.func @row_sum_in_a_warp(%a: memref<?x768xf32>, %b: memref<?xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%b : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x768xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %y = arith.addf %acc, %x : f32
    linalg.yield %y : f32
  }
  return
}

// Long rows and rows of unknown length: a block each, whose warps meet in shared
// memory. Without a fill the row begins with what is there.
// CHECK-LABEL: @row_maximum_in_a_block
// CHECK-SAME: %[[A:[^,]*]]: memref<?x?xf16>, %[[B:.*]]: memref<?xf16>
// CHECK: gpu.launch {{.*}} dynamic_shared_memory_size %c64_i32
// CHECK: vector.load %[[A]]{{.*}} {alignment = 16 : i64} : memref<?x?xf16>, vector<8xf16>
// CHECK: scf.for %{{.*}} step %c256
// CHECK: memref.load %[[A]]
// 16 bits are shuffled as 32.
// CHECK: arith.extui %{{.*}} : i16 to i32
// CHECK: gpu.shuffle xor
// CHECK: nvx.shared_memory : memref<64xi8, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// CHECK: scf.if
// CHECK: memref.load %[[B]]
// CHECK: arith.maximumf
// CHECK: memref.store %{{.*}}, %[[B]]
func.func @row_maximum_in_a_block(%a: memref<?x?xf16>, %b: memref<?xf16>) {
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x?xf16>) outs(%b : memref<?xf16>) {
  ^bb0(%x: f16, %acc: f16):
    %y = arith.maximumf %acc, %x : f16
    linalg.yield %y : f16
  }
  return
}

// Threads along what stays, each down its column.
// CHECK-LABEL: @column_sum
// CHECK: gpu.launch
// CHECK: scf.for
// CHECK: scf.for %{{.*}} = %c0 to %{{.*}} step %c1
// CHECK-NOT: gpu.shuffle
// CHECK: megactx.kernel = "reduce_columns"
func.func @column_sum(%a: memref<?x?xf32>, %b: memref<?xf32>) {
  linalg.generic {indexing_maps = [#ij, #j], iterator_types = ["reduction", "parallel"]}
      ins(%a : memref<?x?xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %y = arith.addf %acc, %x : f32
    linalg.yield %y : f32
  }
  return
}

// What no single op combines, and a few terms: within a thread.
// CHECK-LABEL: @no_single_op_combines
// CHECK: gpu.launch
// CHECK-NOT: gpu.shuffle
// CHECK: megactx.kernel = "reduce_columns"
func.func @no_single_op_combines(%a: memref<?x?xf32>, %b: memref<?xf32>) {
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x?xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %half = arith.constant 0.5 : f32
    %old = arith.mulf %acc, %half : f32
    %y = arith.addf %old, %x : f32
    linalg.yield %y : f32
  }
  return
}
// CHECK-LABEL: @few_terms
// CHECK: gpu.launch
// CHECK-NOT: gpu.shuffle
// CHECK: megactx.kernel = "reduce_columns"
func.func @few_terms(%a: memref<?x7xf32>, %b: memref<?xf32>) {
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<?x7xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %y = arith.addf %acc, %x : f32
    linalg.yield %y : f32
  }
  return
}

// A fill that something else reads first is a kernel of its own.
// CHECK-LABEL: @fill_of_its_own
// CHECK-COUNT-2: gpu.launch
// CHECK-NOT: linalg
func.func @fill_of_its_own(%a: memref<4x8xf32>, %b: memref<4xf32>, %c: memref<4xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%b : memref<4xf32>)
  memref.copy %b, %c : memref<4xf32> to memref<4xf32>
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%a : memref<4x8xf32>) outs(%b : memref<4xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %y = arith.addf %acc, %x : f32
    linalg.yield %y : f32
  }
  return
}

// Tensors are another level's.
// CHECK-LABEL: @tensors_stay
// CHECK-NOT: gpu.launch
// CHECK: linalg.fill
func.func @tensors_stay(%t: tensor<4xf32>) -> tensor<4xf32> {
  %zero = arith.constant 0.0 : f32
  %f = linalg.fill ins(%zero : f32) outs(%t : tensor<4xf32>) -> tensor<4xf32>
  return %f : tensor<4xf32>
}

// A single number has no loops.
// CHECK-LABEL: @single_number
// CHECK: gpu.launch
// CHECK: %[[X:.*]] = memref.load %arg0[]
// CHECK: %[[Y:.*]] = arith.negf %[[X]]
// CHECK: memref.store %[[Y]], %arg1[]
func.func @single_number(%a: memref<f32>, %b: memref<f32>) {
  linalg.generic {indexing_maps = [affine_map<() -> ()>, affine_map<() -> ()>], iterator_types = []}
      ins(%a : memref<f32>) outs(%b : memref<f32>) {
  ^bb0(%x: f32, %old: f32):
    %y = arith.negf %x : f32
    linalg.yield %y : f32
  }
  return
}
