// RUN: split-file %s %t
// RUN: megactx-opt %t/cache.mlir --megactx-caches-in-place | FileCheck %s
// RUN: megactx-compile %t/cache.mlir --caches-in-place --compile-to=memref -o - | FileCheck %s --check-prefix=MEMORY
// RUN: not megactx-opt %t/read.mlir --megactx-caches-in-place 2>&1 | FileCheck %s --check-prefix=READ
// RUN: not megactx-opt %t/name.mlir --megactx-caches-in-place 2>&1 | FileCheck %s --check-prefix=NAME

// New rows go behind as many as the last argument says; what asks for the cache's size gets that number.
// CHECK-LABEL: func.func @main
// CHECK-SAME: [[CACHE:%[a-z0-9]+]]: tensor<?x2x?x8xf32> {onnx.dims = ["b", "", "n_room", ""], onnx.name = "k"}
// CHECK-SAME: [[NEW:%[a-z0-9]+]]: tensor<?x2x?x8xf32>,
// CHECK-SAME: [[LENGTH:%[a-z0-9]+]]: tensor<i64> {onnx.name = "past_sequence_length"})
// CHECK-SAME: -> (tensor<?x2x?x8xf32> {megactx.updates = 0 : i64, onnx.dims = ["b", "", "n_room", ""]}, tensor<4xi64>)
// CHECK: [[GIVEN:%.*]] = tensor.extract [[LENGTH]][]
// CHECK: [[PAST:%.*]] = arith.index_cast [[GIVEN]]
// CHECK: cf.assert {{.*}}past_sequence_length is negative
// CHECK: [[HELD:%.*]] = tensor.extract_slice [[CACHE]][0, 0, 0, 0] [%{{.*}}, 2, [[PAST]], 8]
// CHECK: [[SAME:%.*]] = onnx.Concat [[HELD]]
// CHECK: cf.assert {{.*}}sizes are not those of the new rows
// CHECK-NOT: sizes are not
// CHECK: [[ROOM:%.*]] = tensor.dim [[CACHE]], %c2
// CHECK: [[ROWS:%.*]] = tensor.dim [[NEW]], %c2
// CHECK: [[LEFT:%.*]] = arith.subi [[ROOM]], [[ROWS]]
// CHECK: arith.cmpi sle, [[PAST]], [[LEFT]]
// CHECK: cf.assert {{.*}}has no room for all tokens
// CHECK: [[UPDATED:%.*]] = tensor.insert_slice [[NEW]] into [[CACHE]][0, 0, [[PAST]], 0] [%{{.*}}, 2, %{{.*}}, 8]
// CHECK: [[ALL:%.*]] = tensor.extract_slice [[UPDATED]][0, 0, 0, 0]
// CHECK: onnx.Shape [[SAME]]
// CHECK: onnx.Exp [[ALL]]
// CHECK: return [[UPDATED]]

// MEMORY-LABEL: func.func @main
// MEMORY-NOT: memref.alloc{{.*}}x2x?x8
// MEMORY: [[PLACE:%.*]] = memref.subview %arg0[0, 0, %{{.*}}, 0]
// MEMORY: memref.copy %arg1, [[PLACE]]

// READ: error: no cache can be written in place: expected one that comes into the model
// NAME: error: caches cannot be written in place: the model has an input 'past_sequence_length' of its own

//--- cache.mlir
!t = tensor<?x2x?x8xf32>
func.func @main(%k: !t {onnx.name = "k", onnx.dims = ["b", "", "n", ""]}, %new: !t) -> (!t, tensor<4xi64>) {
  %same = onnx.Concat %k {axis = -2 : i64} : (!t) -> !t
  %all = onnx.Concat %same, %new {axis = -2 : i64} : (!t, !t) -> !t
  %was = onnx.Shape %same : (!t) -> tensor<4xi64>
  %read = onnx.Exp %all : (!t) -> !t
  return %all, %was : !t, tensor<4xi64>
}

//--- read.mlir
!t = tensor<?x2x?x8xf32>
func.func @main(%k: !t, %new: !t) -> (!t, !t) {
  %all = onnx.Concat %k, %new {axis = 2 : i64} : (!t, !t) -> !t
  %read = onnx.Exp %k : (!t) -> !t
  return %all, %read : !t, !t
}

//--- name.mlir
!t = tensor<?x2x?x8xf32>
func.func @main(%k: !t, %new: !t, %l: tensor<i64> {onnx.name = "past_sequence_length"}) -> !t {
  %all = onnx.Concat %k, %new {axis = 2 : i64} : (!t, !t) -> !t
  return %all : !t
}
