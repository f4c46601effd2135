// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-fuse-rows))' | FileCheck %s
// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-fuse-rows{long-extent=512}))' | FileCheck %s --check-prefix=LONG

#ij = affine_map<(i, j) -> (i, j)>
#ji = affine_map<(i, j) -> (j, i)>
#i = affine_map<(i, j) -> (i)>

// The sum that it is of, the reduction with what it starts from, and the result,
// which stand where the last of them stood. Of the sums nobody reads anything
// afterwards, of what is normalised the caller does; memory is freed behind.
// CHECK-LABEL: @residual
// CHECK: %[[SUM:.*]] = memref.alloc(%{{.*}}) {alignment = 64 : i64} : memref<?xf32>
// CHECK: %[[Y:.*]] = memref.alloc
// CHECK-NEXT: megactx.fused_rows scratch(%[[SUM]] : memref<?xf32>) {
// CHECK-NEXT: linalg.generic
// CHECK: arith.addf
// CHECK: linalg.fill {{.*}} outs(%[[SUM]]
// CHECK-NEXT: linalg.generic {{.*}}"reduction"
// CHECK: linalg.generic {{.*}} outs(%[[Y]]
// CHECK: arith.divf
// CHECK: memref.dealloc %[[SUM]]
// CHECK-NOT: linalg
func.func @residual(%x: memref<?x512xf32>, %r: memref<?x512xf32>, %t: memref<?x512xf32>) -> memref<?x512xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x512xf32>
  linalg.generic {indexing_maps = [#ij, #ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %r : memref<?x512xf32>, memref<?x512xf32>) outs(%t : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%t : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  %y = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%t, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  memref.dealloc %sum : memref<?xf32>
  return %y : memref<?x512xf32>
}

// Sums that somebody reads are no scratch.
// CHECK-LABEL: @sums_are_used
// CHECK: megactx.fused_rows {
// CHECK: return
func.func @sums_are_used(%x: memref<?x512xf32>) -> (memref<?xf32>, memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x512xf32>
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  %y = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return %sum, %y : memref<?xf32>, memref<?x512xf32>
}

// In place: each point reads its element before it writes it.
// CHECK-LABEL: @in_place
// CHECK: megactx.fused_rows
// CHECK-COUNT-2: linalg.generic
// CHECK: return
func.func @in_place(%x: memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x512xf32>
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%x : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// What a row writes another one may not have read yet.
// CHECK-LABEL: @other_rows
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @other_rows(%x: memref<512x512xf32>, %y: memref<512x512xf32>) {
  %zero = arith.constant 0.0 : f32
  %sum = memref.alloc() {alignment = 64 : i64} : memref<512xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<512xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<512x512xf32>) outs(%sum : memref<512xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ji], iterator_types = ["parallel", "parallel"]}
      ins(%y, %sum : memref<512x512xf32>, memref<512xf32>) outs(%x : memref<512x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// The same memory under another name.
// CHECK-LABEL: @another_name
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @another_name(%x: memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x512xf32>
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  %same = memref.cast %x : memref<?x512xf32> to memref<?x512xf32, strided<[512, 1]>>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%same : memref<?x512xf32, strided<[512, 1]>>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// And transposed.
// CHECK-LABEL: @transposed
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @transposed(%x: memref<512x512xf32>, %y: memref<512x512xf32>) {
  %zero = arith.constant 0.0 : f32
  %sum = memref.alloc() {alignment = 64 : i64} : memref<512xf32>
  %same = memref.transpose %x (i, j) -> (j, i) : memref<512x512xf32> to memref<512x512xf32, strided<[1, 512]>>
  linalg.fill ins(%zero : f32) outs(%sum : memref<512xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<512x512xf32>) outs(%sum : memref<512xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%y, %sum : memref<512x512xf32>, memref<512xf32>) outs(%same : memref<512x512xf32, strided<[1, 512]>>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// Of two arguments it is not known whether they are one.
// CHECK-LABEL: @arguments
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @arguments(%x: memref<?x512xf32>, %sum: memref<?xf32>, %y: memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// An op that has nothing to do with them stays before them; one that reads what
// they write ends them.
// CHECK-LABEL: @ops_between
// CHECK: %[[Q:.*]] = memref.alloc
// CHECK: linalg.generic {{.*}} outs(%[[Q]] :
// CHECK: megactx.fused_rows
// CHECK-COUNT-2: linalg.generic
// CHECK-NOT: linalg.generic
// CHECK: {{^    }$}}
// CHECK: linalg.generic
func.func @ops_between(%x: memref<?x512xf32>, %p: memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x512xf32>
  %q = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  %y = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  %z = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%p, %p : memref<?x512xf32>, memref<?x512xf32>) outs(%q : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  %part = memref.subview %y[0, 0] [%n, 256] [1, 1] : memref<?x512xf32> to memref<?x256xf32, strided<[512, 1]>>
  %w = memref.alloc(%n) {alignment = 64 : i64} : memref<?x256xf32>
  linalg.generic {indexing_maps = [#ij, #ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%part, %part : memref<?x256xf32, strided<[512, 1]>>, memref<?x256xf32, strided<[512, 1]>>) outs(%w : memref<?x256xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// The host reads a sum.
// CHECK-LABEL: @host_between
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @host_between(%x: memref<?x512xf32>) -> memref<?x512xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x512xf32>
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  %y = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  %w = memref.load %sum[%c0] : memref<?xf32>
  memref.store %w, %sum[%c0] : memref<?xf32>
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return %y : memref<?x512xf32>
}

// Rows of as many elements, as sizes say.
// CHECK-LABEL: @equal_sizes
// CHECK: megactx.fused_rows
// CHECK-COUNT-2: linalg.generic
// CHECK: return
func.func @equal_sizes(%n: index, %m: index) {
  %zero = arith.constant 0.0 : f32
  %x = memref.alloc(%n, %m) {alignment = 64 : i64} : memref<?x?xf32>
  %z = memref.alloc(%n, %m) {alignment = 64 : i64} : memref<?x?xf32>
  %w = memref.alloc(%n, %m) {alignment = 64 : i64} : memref<?x?xf32>
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x?xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%z, %sum : memref<?x?xf32>, memref<?xf32>) outs(%w : memref<?x?xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// Rows of another length have the sums in common alone.
// CHECK-LABEL: @other_length
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @other_length(%n: index, %m: index, %k: index) {
  %zero = arith.constant 0.0 : f32
  %x = memref.alloc(%n, %m) {alignment = 64 : i64} : memref<?x?xf32>
  %z = memref.alloc(%n, %k) {alignment = 64 : i64} : memref<?x?xf32>
  %w = memref.alloc(%n, %k) {alignment = 64 : i64} : memref<?x?xf32>
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x?xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%z, %sum : memref<?x?xf32>, memref<?xf32>) outs(%w : memref<?x?xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// Short rows are left to a thread each.
// CHECK-LABEL: @short_rows
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @short_rows(%x: memref<?x7xf32>, %n: index) {
  %zero = arith.constant 0.0 : f32
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  %y = memref.alloc(%n) {alignment = 64 : i64} : memref<?x7xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x7xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<?x7xf32>, memref<?xf32>) outs(%y : memref<?x7xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// All of a row read what one of them would write.
// CHECK-LABEL: @sums_read_before
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @sums_read_before(%x: memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x512xf32>
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  %y = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%y : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// Maps alone are no rows.
// CHECK-LABEL: @maps
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @maps(%x: memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x512xf32>
  %y = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  %z = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  linalg.generic {indexing_maps = [#ij, #ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %x : memref<?x512xf32>, memref<?x512xf32>) outs(%y : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %y : memref<?x512xf32>, memref<?x512xf32>) outs(%z : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// What a row looks up anywhere is no other row's to write.
// CHECK-LABEL: @lookup
// CHECK-NOT: megactx.fused_rows
// CHECK: return
func.func @lookup(%x: memref<?x512xf32>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x512xf32>
  %sum = memref.alloc(%n) {alignment = 64 : i64} : memref<?xf32>
  %y = memref.alloc(%n) {alignment = 64 : i64} : memref<?x512xf32>
  linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<?x512xf32>, memref<?xf32>) outs(%y : memref<?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %w = memref.load %sum[%c0] : memref<?xf32>
    %0 = arith.divf %a, %w : f32
    linalg.yield %0 : f32
  }
  return
}

// Few rows so long that cores can share one.
// LONG-LABEL: @few_and_long
// LONG-NOT: megactx.fused_rows
// CHECK-LABEL: @few_and_long
// CHECK: megactx.fused_rows
// LONG-LABEL: @many_and_long
// LONG: megactx.fused_rows
func.func @few_and_long(%x: memref<4x512xf32>) -> memref<4x512xf32> {
  %sum = memref.alloc() : memref<4xf32>
  %y = memref.alloc() : memref<4x512xf32>
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<4x512xf32>) outs(%sum : memref<4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<4x512xf32>, memref<4xf32>) outs(%y : memref<4x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return %y : memref<4x512xf32>
}
func.func @many_and_long(%x: memref<40x512xf32>) -> memref<40x512xf32> {
  %sum = memref.alloc() : memref<40xf32>
  %y = memref.alloc() : memref<40x512xf32>
  linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<40x512xf32>) outs(%sum : memref<40xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : memref<40x512xf32>, memref<40xf32>) outs(%y : memref<40x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %0 = arith.divf %a, %b : f32
    linalg.yield %0 : f32
  }
  return %y : memref<40x512xf32>
}
