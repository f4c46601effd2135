// REQUIRES: ptxas
// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline | %python %S/Inputs/ptxas.py sm_80 | FileCheck %s --implicit-check-not=warning
// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline=arch=sm_90 | %python %S/Inputs/ptxas.py sm_90 | FileCheck %s --implicit-check-not=warning
// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline=arch=sm_90a | %python %S/Inputs/ptxas.py sm_90a | FileCheck %s --implicit-check-not=warning --implicit-check-not="Performance Loss"

// Each kernel assembles without spills; products of wgmma are not serialized.

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @causal_window(%q: memref<?x?x?x128xbf16>, %k: memref<?x?x?x128xbf16>, %v: memref<?x?x?x128xbf16>, %o: memref<?x?x?x128xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32}
      : (memref<?x?x?x128xbf16>, memref<?x?x?x128xbf16>, memref<?x?x?x128xbf16>, memref<?x?x?x128xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @dense_head_of_80(%q: memref<?x?x?x80xf16>, %k: memref<?x?x?x80xf16>, %v: memref<?x?x?x80xf16>, %o: memref<?x?x?x80xf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32}
      : (memref<?x?x?x80xf16>, memref<?x?x?x80xf16>, memref<?x?x?x80xf16>, memref<?x?x?x80xf16>, memref<?x?x?xf32>) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @strided_accumulate(%q: memref<?x?x?x64xbf16>, %k: memref<?x?x?x64xbf16>, %v: memref<?x?x?x64xbf16>, %o: memref<?x?x?x64xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<3, [0]: [0], [1]: [1], [2]: [2]>>] {scale = 0.125 : f32, accumulate}
      : (memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?x64xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @large_head(%q: memref<?x?x?x256xbf16>, %k: memref<?x?x?x256xbf16>, %v: memref<?x?x?x256xbf16>, %o: memref<?x?x?x256xbf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32}
      : (memref<?x?x?x256xbf16>, memref<?x?x?x256xbf16>, memref<?x?x?x256xbf16>, memref<?x?x?x256xbf16>, memref<?x?x?xf32>) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @columns_small_head(%q: memref<?x?x?x32xf16>, %k: memref<?x?x?x32xf16>, %v: memref<?x?x?x32xf16>, %o: memref<?x?x?x32xf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<hi<p + 1>, digits<8, [0, 1, 2, 3, 4, 5, 6, 7]: [6, 7]>>] {scale = 0.125 : f32}
      : (memref<?x?x?x32xf16>, memref<?x?x?x32xf16>, memref<?x?x?x32xf16>, memref<?x?x?x32xf16>, memref<?x?x?xf32>) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @padded_head(%q: memref<?x?x?x72xf16>, %k: memref<?x?x?x72xf16>, %v: memref<?x?x?x72xf16>, %o: memref<?x?x?x72xf16>, %lse: memref<?x?x?xf32>) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32}
      : (memref<?x?x?x72xf16>, memref<?x?x?x72xf16>, memref<?x?x?x72xf16>, memref<?x?x?x72xf16>, memref<?x?x?xf32>) -> ()
  return
}
