// RUN: megactx-opt %s --split-input-file --resolve-ranked-shaped-type-result-dims --canonicalize --verify-diagnostics | FileCheck %s
// RUN: megactx-opt %s --split-input-file --one-shot-bufferize="bufferize-function-boundaries" --canonicalize --verify-diagnostics | FileCheck %s --check-prefix=MEMORY

// CHECK-LABEL: @sizes
// CHECK-NEXT: return %arg1, %arg2
// MEMORY-LABEL: @sizes
func.func @sizes(%t: tensor<1x?xf32>, %rows: index, %columns: index) -> (index, index) {
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %0 = megactx.toeplitz_view %t sizes(%rows, %columns) : tensor<1x?xf32> to tensor<1x?x?xf32>
  %r = tensor.dim %0, %c1 : tensor<1x?x?xf32>
  %c = tensor.dim %0, %c2 : tensor<1x?x?xf32>
  return %r, %c : index, index
}

// Row i starts one element before row i - 1.
// MEMORY-LABEL: @in_memory
// MEMORY-SAME: %[[T:.*]]: memref<4x9xf32, strided<[?, ?], offset: ?>>
// MEMORY: %[[BASE:.*]], %[[OFFSET:.*]], %{{.*}}:2, %[[STRIDES:.*]]:2 = memref.extract_strided_metadata %[[T]]
// MEMORY: %[[DOWN:.*]] = arith.subi %{{.*}}, %[[STRIDES]]#1
// MEMORY: %[[LAST:.*]] = arith.muli %[[STRIDES]]#1, %{{.*}}
// MEMORY: %[[FIRST:.*]] = arith.addi %[[OFFSET]], %[[LAST]]
// MEMORY: %[[VIEW:.*]] = memref.reinterpret_cast %[[T]] to offset: [%[[FIRST]]], sizes: [4, 4, 6], strides: [%[[STRIDES]]#0, %[[DOWN]], %[[STRIDES]]#1]
// MEMORY: memref.load %[[VIEW]]
func.func @in_memory(%t: tensor<4x9xf32>, %i: index) -> f32 {
  %c4 = arith.constant 4 : index
  %c6 = arith.constant 6 : index
  %0 = megactx.toeplitz_view %t sizes(%c4, %c6) : tensor<4x9xf32> to tensor<4x4x6xf32>
  %x = tensor.extract %0[%i, %i, %i] : tensor<4x4x6xf32>
  return %x : f32
}

// Rows overlap: whoever writes to one writes to a copy.
// MEMORY-LABEL: @written_to
// MEMORY: %[[VIEW:.*]] = memref.reinterpret_cast
// MEMORY: %[[COPY:.*]] = memref.alloc
// MEMORY: memref.copy %[[VIEW]], %[[COPY]]
// MEMORY: memref.store %{{.*}}, %[[COPY]]
func.func @written_to(%t: tensor<9xf32>, %x: f32, %i: index) -> tensor<4x6xf32> {
  %c4 = arith.constant 4 : index
  %c6 = arith.constant 6 : index
  %0 = megactx.toeplitz_view %t sizes(%c4, %c6) : tensor<9xf32> to tensor<4x6xf32>
  %1 = tensor.insert %x into %0[%i, %i] : tensor<4x6xf32>
  return %1 : tensor<4x6xf32>
}

// -----

func.func @wrong_rank(%t: tensor<4x9xf32>, %n: index) -> tensor<4x9xf32> {
  // expected-error @below {{expected a result with the leading dims of 'tensor<4x9xf32>', rows and columns, but got 'tensor<4x9xf32>'}}
  %0 = megactx.toeplitz_view %t sizes(%n, %n) : tensor<4x9xf32> to tensor<4x9xf32>
  return %0 : tensor<4x9xf32>
}

// -----

func.func @wrong_rows(%t: tensor<4x9xf32>, %n: index) -> tensor<4x4x?xf32> {
  %c5 = arith.constant 5 : index
  // expected-error @below {{expected 5 rows, but got 'tensor<4x4x?xf32>'}}
  %0 = megactx.toeplitz_view %t sizes(%c5, %n) : tensor<4x9xf32> to tensor<4x4x?xf32>
  return %0 : tensor<4x4x?xf32>
}

// -----

func.func @few_elements(%t: tensor<4x8xf32>) -> tensor<4x4x6xf32> {
  %c4 = arith.constant 4 : index
  %c6 = arith.constant 6 : index
  // expected-error @below {{expected a table of 9 elements for 4 rows and 6 columns, but got 8}}
  %0 = megactx.toeplitz_view %t sizes(%c4, %c6) : tensor<4x8xf32> to tensor<4x4x6xf32>
  return %0 : tensor<4x4x6xf32>
}
