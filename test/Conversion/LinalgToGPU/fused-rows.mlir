// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-gpu,canonicalize,cse))' | FileCheck %s

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>

// A warp for each row of 320: 256 elements and, of 8 lanes, 64 more. What it has
// loaded and computed stays in registers: nothing is read again, sums are not
// stored.
// CHECK-LABEL: @tiles
// CHECK-SAME: %[[X:[^,]*]]: memref<?x320xbf16>, %[[R:[^,]*]]: memref<?x320xbf16>, %[[T:[^,]*]]: memref<?x320xbf16>, %[[SUM:[^,]*]]: memref<?xf32>, %[[Y:.*]]: memref<?x320xbf16>
// CHECK: gpu.launch
// CHECK-NOT: dynamic_shared_memory_size
// CHECK: vector.load %[[X]]
// CHECK: %[[IN:.*]] = arith.cmpi ult, %{{.*}}, %c320
// CHECK: scf.if %[[IN]] -> (vector<8xbf16>)
// CHECK: vector.load %[[X]]
// CHECK: vector.load %[[R]]
// CHECK: vector.load %[[R]]
// CHECK-COUNT-8: arith.addf
// CHECK: vector.store %{{.*}}, %[[T]]
// CHECK: scf.if %[[IN]] -> (vector<8xbf16>)
// CHECK: vector.store %[[LAST:.*]], %[[T]]
// CHECK: scf.yield %[[LAST]]
// CHECK-NOT: load
// CHECK: %[[PARTIAL:.*]] = scf.if %[[IN]] -> (f32)
// CHECK-NOT: load
// CHECK: gpu.shuffle xor %[[PARTIAL]]
// CHECK-COUNT-4: gpu.shuffle xor
// CHECK-NOT: {{load|memref.store}}
// CHECK: vector.store %{{.*}}, %[[Y]]
// CHECK: scf.if %[[IN]] {
// CHECK: vector.store %{{.*}}, %[[Y]]
// CHECK-NOT: {{load|store}}
// CHECK: gpu.terminator
// CHECK: megactx.kernel = "fused_rows"
// CHECK-NOT: gpu.launch
// CHECK: return
func.func @tiles(%x: memref<?x320xbf16>, %r: memref<?x320xbf16>, %t: memref<?x320xbf16>, %sum: memref<?xf32>, %y: memref<?x320xbf16>) {
  %zero = arith.constant 0.0 : f32
  megactx.fused_rows scratch(%sum : memref<?xf32>) {
    linalg.generic {indexing_maps = [#ij, #ij, #ij], iterator_types = ["parallel", "parallel"]}
        ins(%x, %r : memref<?x320xbf16>, memref<?x320xbf16>) outs(%t : memref<?x320xbf16>) {
    ^bb0(%a: bf16, %b: bf16, %old: bf16):
      %0 = arith.addf %a, %b : bf16
      linalg.yield %0 : bf16
    }
    linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%t : memref<?x320xbf16>) outs(%sum : memref<?xf32>) {
    ^bb0(%a: bf16, %s: f32):
      %0 = arith.extf %a : bf16 to f32
      %1 = arith.addf %0, %s : f32
      linalg.yield %1 : f32
    }
    linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
        ins(%t, %sum : memref<?x320xbf16>, memref<?xf32>) outs(%y : memref<?x320xbf16>) {
    ^bb0(%a: bf16, %s: f32, %old: bf16):
      %0 = arith.extf %a : bf16 to f32
      %1 = arith.divf %0, %s : f32
      %2 = arith.truncf %1 : f32 to bf16
      linalg.yield %2 : bf16
    }
  }
  return
}

// A block for each row of unknown length, which is read again; sums are in all
// threads, and stored for who else reads them.
// CHECK-LABEL: @loops
// CHECK-SAME: %[[X:[^,]*]]: memref<?x?xf32>, %[[SUM:[^,]*]]: memref<?xf32>, %[[Y:.*]]: memref<?x?xf32>
// CHECK: gpu.launch {{.*}} dynamic_shared_memory_size %c64_i32
// CHECK: scf.for {{.*}} step %c1024 iter_args
// CHECK: vector.load %[[X]]
// CHECK: scf.for {{.*}} step %c256 iter_args
// CHECK: memref.load %[[X]]
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK: gpu.barrier
// CHECK: %[[TOTAL:.*]] = arith.addf %{{.*}}, %cst
// CHECK: scf.if
// CHECK: memref.store %[[TOTAL]], %[[SUM]]
// CHECK-NOT: gpu.barrier
// CHECK: scf.for {{.*}} step %c1024
// CHECK: vector.load %[[X]]
// CHECK: arith.divf %{{.*}}, %[[TOTAL]]
// CHECK: vector.store %{{.*}}, %[[Y]]
// CHECK: scf.for {{.*}} step %c256
// CHECK: memref.store %{{.*}}, %[[Y]]
// CHECK-NOT: gpu.launch
// CHECK: return
func.func @loops(%x: memref<?x?xf32>, %sum: memref<?xf32>, %y: memref<?x?xf32>) {
  %one = arith.constant 1.0 : f32
  megactx.fused_rows {
    linalg.fill ins(%one : f32) outs(%sum : memref<?xf32>)
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%x : memref<?x?xf32>) outs(%sum : memref<?xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
    linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
        ins(%x, %sum : memref<?x?xf32>, memref<?xf32>) outs(%y : memref<?x?xf32>) {
    ^bb0(%a: f32, %s: f32, %old: f32):
      %0 = arith.divf %a, %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}

// A sum that starts from what is in memory: of a row's lanes one reads it there,
// and writes it.
// CHECK-LABEL: @starts_from_memory
// CHECK-SAME: %[[X:[^,]*]]: memref<?x64xf32>, %[[SUM:[^,]*]]: memref<?xf32>
// CHECK: %[[FIRST:.*]] = arith.cmpi eq
// CHECK: scf.if %[[FIRST]] -> (f32)
// CHECK-NEXT: memref.load %[[SUM]]
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK: %[[TOTAL:.*]] = arith.addf
// CHECK-NEXT: scf.if %[[FIRST]] {
// CHECK-NEXT: memref.store %[[TOTAL]], %[[SUM]]
// CHECK-NOT: memref.load
// CHECK: return
func.func @starts_from_memory(%x: memref<?x64xf32>, %sum: memref<?xf32>, %y: memref<?x64xf32>) {
  megactx.fused_rows {
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%x : memref<?x64xf32>) outs(%sum : memref<?xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
    linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
        ins(%x, %sum : memref<?x64xf32>, memref<?xf32>) outs(%y : memref<?x64xf32>) {
    ^bb0(%a: f32, %s: f32, %old: f32):
      %0 = arith.divf %a, %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}

// A sum on top of another one starts from that, not from what was filled in before.
// CHECK-LABEL: @sum_of_sums
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK: %[[ONE:.*]] = arith.addf %{{.*}}, %cst
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK: arith.addf %[[ONE]]
// CHECK: return
func.func @sum_of_sums(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %sum: memref<?xf32>) {
  %zero = arith.constant 0.0 : f32
  megactx.fused_rows {
    linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%x : memref<?x64xf32>) outs(%sum : memref<?xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%y : memref<?x64xf32>) outs(%sum : memref<?xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}
