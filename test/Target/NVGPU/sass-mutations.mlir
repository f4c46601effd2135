// REQUIRES: ptxas, nvdisasm
// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline -o %t.mma
// RUN: megactx-opt %s --megactx-attention-to-gpu-pipeline=arch=sm_90a -o %t.wgmma

// The machine code of this kernel is as docs/testing.md has it.
// RUN: %python %S/Inputs/sass.py sm_90a < %t.wgmma | sed 's/^kernel .*/kernel .../' > %t.said
// RUN: sed -n '/^kernel \.\.\./,/^```$/{/^```$/d;p}' %source/docs/testing.md > %t.documented
// RUN: diff %t.documented %t.said

// What is said where its PTX lacks something.

// RUN: sed -E 's/cp\.async\.wait_group [^;]*;//g' %t.mma | not %python %S/Inputs/sass.py sm_80 2>&1 | FileCheck %s --check-prefix=NO-WAIT
// NO-WAIT: error: mctx_attention_0 reads a tile before the wait for its copies

// Without the branch before the wait, ptxas moves the wait up.
// RUN: sed -E 's/\{ \.reg \.pred p; setp[^}]*\} //g' %t.wgmma | not %python %S/Inputs/sass.py sm_90a 2>&1 | FileCheck %s --check-prefix=HOISTED
// HOISTED: error: mctx_attention_0 has 0 of {{[0-9]+}} exp2 between the waits for scores and for the product with values

// RUN: sed -E 's/wgmma\.wait_group\.sync\.aligned 1;//g' %t.wgmma | not %python %S/Inputs/sass.py sm_90a 2>&1 | FileCheck %s --check-prefix=SERIALIZED
// SERIALIZED: error: mctx_attention_0 waits until [0, 0, 0, 0, 0, 0, 0, 0] groups of products are under way, expected [1, 0]

!q = memref<1x8x4096x64xbf16>
!l = memref<1x8x4096xf32>
func.func @strided_view(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>, digits<3, [0]: [0], [1]: [1], [2]: [2]>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}
