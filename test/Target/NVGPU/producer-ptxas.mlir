// REQUIRES: ptxas
// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline="arch=sm_90a" | %python %S/Inputs/ptxas.py sm_90a | FileCheck %s --implicit-check-not=warning --implicit-check-not="(C7"

// Kernels of which a warp only loads assemble without spills; ptxas keeps to both shares of registers and serializes no products.

#small = #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true, persistent = true>
#tall = #nvx.schedule<rows = 128, columns = 80, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true>
#shared = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 2, loads = tma, producer = true, persistent = true>
!q = memref<?x?x?x64xbf16>
!w = memref<?x?x?x128xbf16>
!l = memref<?x?x?xf32>

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
// CHECK: Used 168 registers
func.func @dense(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<all>] {scale = 0.125 : f32, nvx.schedule = #small} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @causal(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32, nvx.schedule = #small} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
// CHECK: Used 128 registers
func.func @window_in_two_blocks(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32, nvx.schedule = #shared} : (!q, !q, !q, !q, !l) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
// CHECK: Used 168 registers
func.func @causal_128(%q: !w, %k: !w, %v: !w, %o: !w, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32, nvx.schedule = #small} : (!w, !w, !w, !w, !l) -> ()
  return
}

// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
func.func @window_128(%q: !w, %k: !w, %v: !w, %o: !w, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<lo<p - 511>, hi<p + 1>>] {scale = 0.125 : f32, nvx.schedule = #tall} : (!w, !w, !w, !w, !l) -> ()
  return
}
