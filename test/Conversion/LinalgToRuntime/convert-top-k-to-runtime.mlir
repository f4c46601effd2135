// RUN: megactx-opt %s --megactx-convert-top-k-to-runtime | FileCheck %s

// CHECK: func private @mctx_rt_top_k_f32(memref<*xf32>, memref<*xf32>, memref<*xi64>, i64, i64) attributes {llvm.emit_c_interface}

// CHECK-LABEL: @largest
// CHECK-SAME: %[[X:.+]]: memref<2x?xf32, strided<[?, 3]>>, %[[V:.+]]: memref<2x5xf32>, %[[I:.+]]: memref<2x5xi64>
// CHECK-DAG: %[[XC:.+]] = memref.cast %[[X]]
// CHECK-DAG: %[[VC:.+]] = memref.cast %[[V]]
// CHECK-DAG: %[[IC:.+]] = memref.cast %[[I]]
// CHECK-DAG: %[[AXIS:.+]] = arith.constant 1 : i64
// CHECK-DAG: %[[LARGEST:.+]] = arith.constant 1 : i64
// CHECK: call @mctx_rt_top_k_f32(%[[XC]], %[[VC]], %[[IC]], %{{.+}}, %[[LARGEST]])
func.func @largest(%x: memref<2x?xf32, strided<[?, 3]>>, %v: memref<2x5xf32>, %i: memref<2x5xi64>) {
  megactx.top_k largest %x along 1 outs(%v, %i) : (memref<2x?xf32, strided<[?, 3]>>, memref<2x5xf32>, memref<2x5xi64>) -> ()
  return
}

// CHECK-LABEL: @smallest
// CHECK: arith.constant 0 : i64
// CHECK: arith.constant 0 : i64
// CHECK: call @mctx_rt_top_k_ui8
func.func @smallest(%x: memref<9xui8>, %v: memref<5xui8>, %i: memref<5xi64>) {
  megactx.top_k %x along 0 outs(%v, %i) : (memref<9xui8>, memref<5xui8>, memref<5xi64>) -> ()
  return
}
