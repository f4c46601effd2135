// RUN: megactx-opt %s --megactx-convert-nvx-to-runtime | FileCheck %s

// CHECK: llvm.func @mctx_rt_multiprocessors() -> i64
// CHECK-LABEL: func.func @multiprocessors
// CHECK: %[[COUNT:.*]] = llvm.call @mctx_rt_multiprocessors() : () -> i64
// CHECK: %[[INDEX:.*]] = arith.index_cast %[[COUNT]] : i64 to index
// CHECK: return %[[INDEX]]
func.func @multiprocessors() -> index {
  %n = nvx.multiprocessors
  return %n : index
}
