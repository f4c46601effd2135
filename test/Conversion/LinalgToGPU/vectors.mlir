// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-gpu,canonicalize,cse))' | FileCheck %s

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>
#j = affine_map<(i, j) -> (j)>
#ji = affine_map<(i, j) -> (j, i)>
#abcd = affine_map<(a, b, c, d) -> (a, b, c, d)>
#acbd = affine_map<(a, b, c, d) -> (a, c, b, d)>

// 16 bytes of the narrowest elements at once; what is one element for all
// neighbours is loaded once. Nothing is asked at run time: arguments start at
// multiples of 16 bytes, and so do rows.
// CHECK-LABEL: @bias_and_scale
// CHECK-SAME: %[[X:[^,]*]]: memref<?x512xbf16>, %[[BIAS:[^,]*]]: memref<512xf32>, %[[SCALE:[^,]*]]: memref<?xf32>, %[[Y:.*]]: memref<?x512xbf16>
// CHECK-NOT: arith.andi
// CHECK: gpu.launch
// CHECK: scf.for %[[J:.*]] = %{{.*}} to %{{.*}} step %c512
// CHECK: vector.load %[[X]][%[[ROW:.*]], %[[J]]] {alignment = 16 : i64} : memref<?x512xbf16>, vector<8xbf16>
// CHECK: vector.load %[[BIAS]][%[[J]]] {alignment = 16 : i64} : memref<512xf32>, vector<4xf32>
// CHECK: %[[J4:.*]] = arith.addi %[[J]], %c4
// CHECK: vector.load %[[BIAS]][%[[J4]]] {alignment = 16 : i64} : memref<512xf32>, vector<4xf32>
// CHECK: memref.load %[[SCALE]][%[[ROW]]]
// CHECK-NOT: memref.load
// CHECK-COUNT-8: arith.truncf
// CHECK: vector.from_elements {{.*}} : vector<8xbf16>
// CHECK: vector.store %{{.*}}, %[[Y]][%[[ROW]], %[[J]]] {alignment = 16 : i64}
// CHECK-NOT: scf.for
// CHECK: gpu.terminator
func.func @bias_and_scale(%x: memref<?x512xbf16>, %bias: memref<512xf32>, %scale: memref<?xf32>, %y: memref<?x512xbf16>) {
  linalg.generic {indexing_maps = [#ij, #j, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %bias, %scale : memref<?x512xbf16>, memref<512xf32>, memref<?xf32>) outs(%y : memref<?x512xbf16>) {
  ^bb0(%a: bf16, %b: f32, %s: f32, %old: bf16):
    %0 = arith.extf %a : bf16 to f32
    %1 = arith.addf %0, %b : f32
    %2 = arith.mulf %1, %s : f32
    %3 = arith.truncf %2 : f32 to bf16
    linalg.yield %3 : bf16
  }
  return
}

// Heads out of a part of longer rows, in an arena: strides and offsets are those
// of what it is a part of.
// CHECK-LABEL: @heads
// CHECK-NOT: extract_strided_metadata
// CHECK-NOT: extract_aligned_pointer
// CHECK: gpu.launch
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?x8x64xbf16, {{.*}}>, vector<8xbf16>
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x8x?x64xbf16>, vector<8xbf16>
// CHECK-NOT: memref.store
func.func @heads(%b: index, %n: index, %from: index) {
  %c48 = arith.constant 48 : index
  %c-64 = arith.constant -64 : index
  %arena = memref.alloc(%n) {alignment = 64 : i64} : memref<?xi8>
  %p = arith.muli %from, %c48 : index
  %q = arith.andi %from, %c-64 : index
  %at = arith.maxui %p, %q : index
  %x = memref.view %arena[%at][%b, %n] : memref<?xi8> to memref<?x?x1536xbf16>
  %y = memref.view %arena[%q][%b, %n] : memref<?xi8> to memref<?x8x?x64xbf16>
  %part = memref.subview %x[0, 0, 512] [%b, %n, 512] [1, 1, 1] : memref<?x?x1536xbf16> to memref<?x?x512xbf16, strided<[?, 1536, 1], offset: 512>>
  %heads = memref.expand_shape %part [[0], [1], [2, 3]] output_shape [%b, %n, 8, 64] : memref<?x?x512xbf16, strided<[?, 1536, 1], offset: 512>> into memref<?x?x8x64xbf16, strided<[?, 1536, 64, 1], offset: 512>>
  linalg.generic {indexing_maps = [#acbd, #abcd], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%heads : memref<?x?x8x64xbf16, strided<[?, 1536, 64, 1], offset: 512>>) outs(%y : memref<?x8x?x64xbf16>) {
  ^bb0(%a: bf16, %old: bf16):
    linalg.yield %a : bf16
  }
  return
}

// The same of heads that lie in rows of all of them.
// CHECK-LABEL: @transposed_heads
// CHECK-NOT: extract_strided_metadata
// CHECK-NOT: extract_aligned_pointer
// CHECK: gpu.launch
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x8x?x64xbf16, {{.*}}>, vector<8xbf16>
func.func @transposed_heads(%x: memref<?x?x8x64xbf16>, %y: memref<?x8x?x64xbf16>) {
  %heads = memref.transpose %x (a, b, c, d) -> (a, c, b, d) : memref<?x?x8x64xbf16> to memref<?x8x?x64xbf16, strided<[?, 64, 512, 1]>>
  linalg.generic {indexing_maps = [#abcd, #abcd], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%heads : memref<?x8x?x64xbf16, strided<[?, 64, 512, 1]>>) outs(%y : memref<?x8x?x64xbf16>) {
  ^bb0(%a: bf16, %old: bf16):
    linalg.yield %a : bf16
  }
  return
}

// Half as much where an offset allows no more, of this operand alone; one by one
// where it is odd.
// CHECK-LABEL: @offsets
// CHECK: gpu.launch
// CHECK: vector.load %[[X:.*]][%{{.*}}, %[[J:.*]]] {alignment = 8 : i64} : {{.*}}, vector<4xbf16>
// CHECK: vector.load %[[X]]{{.*}} {alignment = 8 : i64} : {{.*}}, vector<4xbf16>
// CHECK: memref.load %[[Y:.*]][%{{.*}}, %[[J]]]
// CHECK-COUNT-7: memref.load %[[Y]]
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x64xbf16>, vector<8xbf16>
func.func @offsets(%x: memref<?x64xbf16, strided<[128, 1], offset: 4>>, %y: memref<?x64xbf16, strided<[128, 1], offset: 1>>, %z: memref<?x64xbf16>) {
  linalg.generic {indexing_maps = [#ij, #ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %y : memref<?x64xbf16, strided<[128, 1], offset: 4>>, memref<?x64xbf16, strided<[128, 1], offset: 1>>) outs(%z : memref<?x64xbf16>) {
  ^bb0(%a: bf16, %b: bf16, %old: bf16):
    %0 = arith.addf %a, %b : bf16
    linalg.yield %0 : bf16
  }
  return
}

// Rows of a length that is known when it runs: vectors up to the last whole one
// if their addresses are multiples, one by one from there.
// CHECK-LABEL: @rows_of_unknown_length
// CHECK: %{{.*}}, %{{.*}}, %{{.*}}:2, %[[STRIDES:.*]]:2 = memref.extract_strided_metadata %arg0
// CHECK: %[[REST:.*]] = arith.andi %[[STRIDES]]#0, %c7
// CHECK: gpu.launch
// CHECK: %[[WHOLE:.*]] = arith.andi %[[END:.*]], %c-8
// CHECK: %[[ALIGNED:.*]] = arith.cmpi eq, %{{.*}}, %c0
// CHECK: %[[LAST:.*]] = arith.select %[[ALIGNED]], %[[WHOLE]], %[[BEGIN:.*]] : index
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[LAST]] step %c2048
// CHECK: vector.load
// CHECK: %[[FROM:.*]] = arith.addi %[[LAST]], %{{.*}}
// CHECK: scf.for %{{.*}} = %[[FROM]] to %[[END]] step %c256
// CHECK: memref.load
// CHECK: memref.store
func.func @rows_of_unknown_length(%x: memref<?x?xbf16>, %y: memref<?x?xbf16>) {
  linalg.generic {indexing_maps = [#ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x : memref<?x?xbf16>) outs(%y : memref<?x?xbf16>) {
  ^bb0(%a: bf16, %old: bf16):
    %0 = arith.negf %a : bf16
    linalg.yield %0 : bf16
  }
  return
}

// Where memory comes from is not known: its address is asked for.
// CHECK-LABEL: @memory_of_a_choice
// CHECK: %[[CHOSEN:.*]] = arith.select
// CHECK: %[[ADDRESS:.*]] = memref.extract_aligned_pointer_as_index %[[CHOSEN]]
// CHECK: arith.andi %[[ADDRESS]], %c15
// CHECK: gpu.launch
func.func @memory_of_a_choice(%c: i1, %x: memref<64xf32>, %y: memref<64xf32>, %z: memref<64xf32>) {
  %chosen = arith.select %c, %x, %y : memref<64xf32>
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%chosen : memref<64xf32>) outs(%z : memref<64xf32>) {
  ^bb0(%a: f32, %old: f32):
    %0 = arith.negf %a : f32
    linalg.yield %0 : f32
  }
  return
}

// A mask has bytes where a vector of i1 has bits, what is transposed lies apart:
// one by one.
// CHECK-LABEL: @mask_and_transposed
// CHECK: gpu.launch
// CHECK-COUNT-4: memref.load %{{.*}} : memref<64x32xi1>
// CHECK-NOT: vector.load
// CHECK: vector.store %{{.*}} : memref<64x32xf32>, vector<4xf32>
func.func @mask_and_transposed(%m: memref<64x32xi1>, %x: memref<32x64xf32>, %y: memref<64x32xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.generic {indexing_maps = [#ij, #ji, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%m, %x : memref<64x32xi1>, memref<32x64xf32>) outs(%y : memref<64x32xf32>) {
  ^bb0(%keep: i1, %a: f32, %old: f32):
    %0 = arith.select %keep, %a, %zero : f32
    linalg.yield %0 : f32
  }
  return
}

// Neighbouring columns have sums of their own.
// CHECK-LABEL: @column_sums
// CHECK: gpu.launch
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}) -> (f32, f32, f32, f32)
// CHECK: vector.load %{{.*}} : memref<?x64xf32>, vector<4xf32>
// CHECK: scf.yield
// CHECK: vector.store %{{.*}} : memref<64xf32>, vector<4xf32>
func.func @column_sums(%x: memref<?x64xf32>, %y: memref<64xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<64xf32>)
  linalg.generic {indexing_maps = [#ij, #j], iterator_types = ["reduction", "parallel"]}
      ins(%x : memref<?x64xf32>) outs(%y : memref<64xf32>) {
  ^bb0(%a: f32, %sum: f32):
    %0 = arith.addf %sum, %a : f32
    linalg.yield %0 : f32
  }
  return
}

// Neighbours lie next to one another, but not where vectors begin.
// CHECK-LABEL: @shifted
// CHECK-SAME: %[[X:[^:]*]]: memref<64x1024xf32>
// CHECK-NOT: vector.load %[[X]]
// CHECK: memref.load %[[X]]
// CHECK: return
func.func @shifted(%x: memref<64x1024xf32>, %w: memref<3xf32>, %y: memref<64x1020xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, k, j) -> (i, j + k)>, affine_map<(i, k, j) -> (k)>, affine_map<(i, k, j) -> (i, j)>],
                  iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%x, %w : memref<64x1024xf32>, memref<3xf32>) outs(%y : memref<64x1020xf32>) {
  ^bb0(%a: f32, %b: f32, %s: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }
  return
}
