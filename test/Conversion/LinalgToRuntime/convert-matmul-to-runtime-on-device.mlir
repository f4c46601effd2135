// RUN: megactx-opt %s --megactx-convert-matmul-to-runtime=on-device | FileCheck %s

#a = affine_map<(b, m, n, k) -> (b, m, k)>
#b = affine_map<(b, m, n, k) -> (b, k, n)>
#c = affine_map<(b, m, n, k) -> (b, m, n)>

// The device's functions are marked: their operands are in its memory.
// CHECK: func.func private @mctx_rt_device_matmul_bf16({{.*}}) attributes {llvm.emit_c_interface, megactx.on_device}
// Without a bias and a residual there are views without elements, and 0 for no
// activation.
// CHECK-LABEL: @product
// CHECK-SAME: %[[X:.+]]: memref<?x4x8xbf16>, %[[Y:.+]]: memref<?x8x16xbf16>, %[[Z:.+]]: memref<?x4x16xbf16>
// CHECK-DAG: %[[XC:.+]] = memref.cast %[[X]]
// CHECK-DAG: %[[YC:.+]] = memref.cast %[[Y]]
// CHECK-DAG: %[[ZC:.+]] = memref.cast %[[Z]]
// CHECK-DAG: %[[NB:.+]] = memref.reinterpret_cast %[[Z]] to offset: [0], sizes: [0], strides: [1]
// CHECK-DAG: %[[NBC:.+]] = memref.cast %[[NB]]
// CHECK-DAG: %[[NR:.+]] = memref.reinterpret_cast %[[Z]] to offset: [0], sizes: [0, 0, 0]
// CHECK-DAG: %[[NRC:.+]] = memref.cast %[[NR]]
// CHECK-DAG: %[[A:.+]] = arith.constant 0 : i32
// CHECK-NOT: linalg
// CHECK: call @mctx_rt_device_matmul_bf16(%[[XC]], %[[YC]], %[[NBC]], %[[NRC]], %[[ZC]], %[[A]])
func.func @product(%x: memref<?x4x8xbf16>, %y: memref<?x8x16xbf16>, %z: memref<?x4x16xbf16>) {
  %zero = arith.constant 0.0 : bf16
  linalg.fill ins(%zero : bf16) outs(%z : memref<?x4x16xbf16>)
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %y : memref<?x4x8xbf16>, memref<?x8x16xbf16>) outs(%z : memref<?x4x16xbf16>) {
  ^bb0(%p: bf16, %q: bf16, %r: bf16):
    %0 = arith.mulf %p, %q : bf16
    %1 = arith.addf %r, %0 : bf16
    linalg.yield %1 : bf16
  }
  return
}

// f64 is left to a kernel.
// CHECK-LABEL: @double
// CHECK: linalg.generic
func.func @double(%x: memref<?x4x8xf64>, %y: memref<?x8x16xf64>, %z: memref<?x4x16xf64>) {
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %y : memref<?x4x8xf64>, memref<?x8x16xf64>) outs(%z : memref<?x4x16xf64>) {
  ^bb0(%p: f64, %q: f64, %r: f64):
    %0 = arith.mulf %p, %q : f64
    %1 = arith.addf %r, %0 : f64
    linalg.yield %1 : f64
  }
  return
}

// What is in the destination is where sums start: it is the residual, too.
// CHECK-LABEL: @onto_what_is_there
// CHECK-SAME: %[[Z:[a-z0-9]+]]: memref<?x4x16xbf16>)
// CHECK: linalg.fill
// CHECK: %[[R:.+]] = memref.cast %[[Z]]
// CHECK: %[[O:.+]] = memref.cast %[[Z]]
// CHECK: call @mctx_rt_device_matmul_bf16(%{{.+}}, %{{.+}}, %{{.+}}, %[[R]], %[[O]], %{{.+}})
func.func @onto_what_is_there(%x: memref<?x4x8xbf16>, %y: memref<?x8x16xbf16>, %z: memref<?x4x16xbf16>) {
  %one = arith.constant 1.0 : bf16
  linalg.fill ins(%one : bf16) outs(%z : memref<?x4x16xbf16>)
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %y : memref<?x4x8xbf16>, memref<?x8x16xbf16>) outs(%z : memref<?x4x16xbf16>) {
  ^bb0(%p: bf16, %q: bf16, %r: bf16):
    %0 = arith.mulf %p, %q : bf16
    %1 = arith.addf %r, %0 : bf16
    linalg.yield %1 : bf16
  }
  return
}

// CHECK-LABEL: @epilogue
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x?x8xf16>, %[[Y:[a-z0-9]+]]: memref<1x8x16xf16>, %[[V:[a-z0-9]+]]: memref<16xf16>, %[[R:[a-z0-9]+]]: memref<1x?x16xf16>, %[[Z:[a-z0-9]+]]: memref<1x?x16xf16>
// CHECK-DAG: %[[VC:.+]] = memref.cast %[[V]]
// CHECK-DAG: %[[RC:.+]] = memref.cast %[[R]]
// CHECK-DAG: %[[ZC:.+]] = memref.cast %[[Z]]
// CHECK-DAG: %[[A:.+]] = arith.constant 2 : i32
// CHECK: call @mctx_rt_device_matmul_f16(%{{.+}}, %{{.+}}, %[[VC]], %[[RC]], %[[ZC]], %[[A]])
func.func @epilogue(%x: memref<1x?x8xf16>, %y: memref<1x8x16xf16>, %v: memref<16xf16>, %r: memref<1x?x16xf16>, %z: memref<1x?x16xf16>) {
  megactx.product %x, %y bias(%v) residual(%r) activation(gelu_tanh) outs(%z) : (memref<1x?x8xf16>, memref<1x8x16xf16>, memref<16xf16>, memref<1x?x16xf16>, memref<1x?x16xf16>) -> ()
  return
}

// cuBLASLt reads columns of unit stride, and packed biases: others are for kernels.
// CHECK-LABEL: @every_other_bias
// CHECK: call @mctx_rt_device_matmul_f16
// CHECK: linalg.generic
// CHECK: arith.maximumf
func.func @every_other_bias(%x: memref<1x?x8xf16>, %y: memref<1x8x16xf16>, %v: memref<16xf16, strided<[2]>>, %z: memref<1x?x16xf16>) {
  megactx.product %x, %y bias(%v) activation(relu) outs(%z) : (memref<1x?x8xf16>, memref<1x8x16xf16>, memref<16xf16, strided<[2]>>, memref<1x?x16xf16>) -> ()
  return
}

// CHECK-LABEL: @every_other_column
// CHECK-NOT: call
// CHECK: linalg.fill
// CHECK: linalg.generic
// CHECK: linalg.generic
func.func @every_other_column(%x: memref<1x?x8xf16, strided<[?, ?, 2]>>, %y: memref<1x8x16xf16>, %r: memref<1x?x16xf16>, %z: memref<1x?x16xf16>) {
  megactx.product %x, %y residual(%r) outs(%z) : (memref<1x?x8xf16, strided<[?, ?, 2]>>, memref<1x8x16xf16>, memref<1x?x16xf16>, memref<1x?x16xf16>) -> ()
  return
}
