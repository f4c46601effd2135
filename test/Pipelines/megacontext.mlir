// One step of a working context: gists of gists, edits by score, the new context. docs/megacontext.md runs it.
// RUN: megactx-compile %s -o %t.mctx 2>/dev/null
// RUN: megactx-opt %s --megactx-convert-attention-to-linalg | FileCheck %s
// CHECK-NOT: = megactx.
// CHECK: cf.assert

!tokens = tensor<1x?x2xf32>
!entries = tensor<1x?xi64>
!new = tensor<1x8xi64>

func.func @main(%x: !tokens, %scores: tensor<1x?xf32>, %lods: !entries, %positions: !entries) -> (tensor<1x8x2xf32>, !new, !new) {
  %g1 = megactx.gist_pool mean %x {ratio = 4} : (!tokens) -> !tokens
  %g2 = megactx.gist_pool mean %g1 {ratio = 4} : (!tokens) -> !tokens
  %context = megactx.lod_gather %lods, %positions levels(%x, %g1, %g2) {ratio = 4}
      : (!entries, !entries, !tokens, !tokens, !tokens) -> !tokens
  %edits = megactx.focus_allocate %scores, %lods, %positions
      {ratio = 4, top = 2, expand_threshold = 0.25 : f32, collapse_threshold = 0.25 : f32, recent = 1, max_edits = 2, budget = 8}
      : (tensor<1x?xf32>, !entries, !entries) -> !entries
  %c, %l, %p, %n = megactx.focus_apply %context, %lods, %positions, %edits levels(%x, %g1, %g2) {ratio = 4, budget = 8}
      : (!tokens, !entries, !entries, !entries, !tokens, !tokens, !tokens) -> (tensor<1x8x2xf32>, !new, !new, tensor<1xindex>)
  return %c, %l, %p : tensor<1x8x2xf32>, !new, !new
}
