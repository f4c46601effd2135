// RUN: megactx-opt %s --megactx-convert-matmul-to-runtime=on-device | FileCheck %s

#a = affine_map<(b, m, n, k) -> (b, m, k)>
#b = affine_map<(b, m, n, k) -> (b, k, n)>
#c = affine_map<(b, m, n, k) -> (b, m, n)>

// The device's functions are marked: their operands are in its memory.
// CHECK: func.func private @mctx_rt_device_matmul_bf16({{.*}}) attributes {llvm.emit_c_interface, megactx.on_device}
// CHECK-LABEL: @product
// CHECK-NOT: linalg
// CHECK: call @mctx_rt_device_matmul_bf16(
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
