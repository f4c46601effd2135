// REQUIRES: ptxas
// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline="arch=sm_90a schedule='#nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, loads = tma>'" | %python %S/Inputs/ptxas.py sm_90a | FileCheck %s --implicit-check-not=warning --implicit-check-not="Performance Loss"

// Kernels with boxes assemble without spills, and products are not serialized.

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @dense(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @causal_window(%q: memref<?x?x?x128xbf16>, %k: memref<?x?x?x128xbf16>, %v: memref<?x?x?x128xbf16>, %o: memref<?x?x?x128xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32}
      : (memref<?x?x?x128xbf16>, memref<?x?x?x128xbf16>, memref<?x?x?x128xbf16>, memref<?x?x?x128xbf16>, memref<?x?x?xf32>) -> ()
  return
}
