// The recurrent cell of the Block-Recurrent Transformer (arXiv:2203.07852), with 2 heads of 8, blocks of 8 tokens and 4 state vectors.
//
// Vertical, tokens: each attends the 8 tokens before it, and with queries of its own the state that its block begins with. Horizontal, state:
// each vector attends the state, and with queries of its own the tokens of the block; a gate mixes the result into the state. Tokens and
// state each have one set of keys and values for both directions. Two attentions' results side by side, projected, are the sum of two
// projections. What does not depend on the state is outside of the loop over blocks.
//
// main(x [B, N, 16], state [B, 4, 16], weights...) -> y [B, N, 16], the state after the last block. Layer norms and MLPs are left out.

#rows = affine_map<(b, h, n, d, e) -> (b, n, e)>
#weight = affine_map<(b, h, n, d, e) -> (e, h, d)>
#heads = affine_map<(b, h, n, d, e) -> (b, h, n, d)>
#back = affine_map<(b, h, n, d, e) -> (h, d, e)>
#row = affine_map<(b, s, e) -> (b, s, e)>
#id = affine_map<(b, s, e) -> (s, e)>
#column = affine_map<(b, s, e) -> (e)>

!x = tensor<?x?x16xf32>
!state = tensor<?x4x16xf32>
!in = tensor<16x2x8xf32>
!out = tensor<2x8x16xf32>
!tokens = tensor<?x2x?x8xf32>
!block = tensor<?x2x8x8xf32>
!vectors = tensor<?x2x4x8xf32>

func.func @main(%x: !x, %state: !state, %ids: tensor<4x16xf32>,
                %wq_tt: !in, %wq_ts: !in, %wk_t: !in, %wv_t: !in, %wo_tt: !out, %wo_ts: !out,
                %wq_ss: !in, %wq_st: !in, %wk_s: !in, %wv_s: !in, %wo_ss: !out, %wo_st: !out,
                %bias: tensor<16xf32>, %gate: tensor<16xf32>) -> (!x, !state) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %b = tensor.dim %x, %c0 : !x
  %n = tensor.dim %x, %c1 : !x
  %rest = arith.remui %n, %c8 : index
  %whole = arith.cmpi eq, %rest, %c0 : index
  cf.assert %whole, "block_recurrent: the tokens are no whole blocks of 8"
  %sb = tensor.dim %state, %c0 : !state
  %same = arith.cmpi eq, %sb, %b : index
  cf.assert %same, "block_recurrent: tokens and state differ in batch size"

  // Tokens: queries for tokens and for the state, keys, values; attention in the window.
  %te = tensor.empty(%b, %n) : !tokens
  %t0 = linalg.fill ins(%zero : f32) outs(%te : !tokens) -> !tokens
  %q_tt = linalg.contract indexing_maps = [#rows, #weight, #heads] ins(%x, %wq_tt : !x, !in) outs(%t0 : !tokens) -> !tokens
  %q_ts = linalg.contract indexing_maps = [#rows, #weight, #heads] ins(%x, %wq_ts : !x, !in) outs(%t0 : !tokens) -> !tokens
  %k_t = linalg.contract indexing_maps = [#rows, #weight, #heads] ins(%x, %wk_t : !x, !in) outs(%t0 : !tokens) -> !tokens
  %v_t = linalg.contract indexing_maps = [#rows, #weight, #heads] ins(%x, %wv_t : !x, !in) outs(%t0 : !tokens) -> !tokens
  %window = megactx.source %k_t, %v_t pattern(#megactx.pattern<window<left = 8, right = 0> minus window<left = 0, right = 0>>)
      : (!tokens, !tokens) -> !megactx.source<!tokens, !tokens>
  %o_tt = megactx.attention %q_tt, %window {scale = 0.35355338 : f32} : (!tokens, !megactx.source<!tokens, !tokens>) -> !tokens

  %se = tensor.empty(%b) : !vectors
  %s0 = linalg.fill ins(%zero : f32) outs(%se : !vectors) -> !vectors
  %ze = tensor.empty(%b) : !state
  %o_ts, %last = scf.for %i = %c0 to %n step %c8 iter_args(%o = %te, %s = %state) -> (!tokens, !state) {
    // Keys and values of the state; state vectors differ by what they learned of their places.
    %placed = linalg.generic {indexing_maps = [#row, #id, #row], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%s, %ids : !state, tensor<4x16xf32>) outs(%ze : !state) {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %sum = arith.addf %p, %q : f32
      linalg.yield %sum : f32
    } -> !state
    %k_s = linalg.contract indexing_maps = [#rows, #weight, #heads] ins(%placed, %wk_s : !state, !in) outs(%s0 : !vectors) -> !vectors
    %v_s = linalg.contract indexing_maps = [#rows, #weight, #heads] ins(%placed, %wv_s : !state, !in) outs(%s0 : !vectors) -> !vectors
    %memory = megactx.source %k_s, %v_s pattern(#megactx.pattern<dense>) : (!vectors, !vectors) -> !megactx.source<!vectors, !vectors>

    // Vertical: the block's tokens see the state.
    %q_b = tensor.extract_slice %q_ts[0, 0, %i, 0] [%b, 2, 8, 8] [1, 1, 1, 1] : !tokens to !block
    %o_b = megactx.attention %q_b, %memory {scale = 0.35355338 : f32, kind = "cross"} : (!block, !megactx.source<!vectors, !vectors>) -> !block
    %next_o = tensor.insert_slice %o_b into %o[0, 0, %i, 0] [%b, 2, 8, 8] [1, 1, 1, 1] : !block into !tokens

    // Horizontal: the state sees itself and the block's tokens.
    %q_ss = linalg.contract indexing_maps = [#rows, #weight, #heads] ins(%placed, %wq_ss : !state, !in) outs(%s0 : !vectors) -> !vectors
    %q_st = linalg.contract indexing_maps = [#rows, #weight, #heads] ins(%placed, %wq_st : !state, !in) outs(%s0 : !vectors) -> !vectors
    %o_ss = megactx.attention %q_ss, %memory {scale = 0.35355338 : f32} : (!vectors, !megactx.source<!vectors, !vectors>) -> !vectors
    %k_b = tensor.extract_slice %k_t[0, 0, %i, 0] [%b, 2, 8, 8] [1, 1, 1, 1] : !tokens to !block
    %v_b = tensor.extract_slice %v_t[0, 0, %i, 0] [%b, 2, 8, 8] [1, 1, 1, 1] : !tokens to !block
    %inputs = megactx.source %k_b, %v_b pattern(#megactx.pattern<dense>) : (!block, !block) -> !megactx.source<!block, !block>
    %o_st = megactx.attention %q_st, %inputs {scale = 0.35355338 : f32, kind = "cross"} : (!vectors, !megactx.source<!block, !block>) -> !vectors
    %z0 = linalg.broadcast ins(%bias : tensor<16xf32>) outs(%ze : !state) dimensions = [0, 1]
    %z1 = linalg.contract indexing_maps = [#heads, #back, #rows] ins(%o_ss, %wo_ss : !vectors, !out) outs(%z0 : !state) -> !state
    %z = linalg.contract indexing_maps = [#heads, #back, #rows] ins(%o_st, %wo_st : !vectors, !out) outs(%z1 : !state) -> !state
    // The fixed gate: g = sigmoid(gate), state * g + z * (1 - g).
    %next_s = linalg.generic {indexing_maps = [#row, #column, #row], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%z, %gate : !state, tensor<16xf32>) outs(%s : !state) {
    ^bb0(%new: f32, %l: f32, %old: f32):
      %m = arith.negf %l : f32
      %e = math.exp %m : f32
      %d = arith.addf %e, %one : f32
      %g = arith.divf %one, %d : f32
      %keep = arith.mulf %old, %g : f32
      %f = arith.subf %one, %g : f32
      %take = arith.mulf %new, %f : f32
      %mixed = arith.addf %keep, %take : f32
      linalg.yield %mixed : f32
    } -> !state
    scf.yield %next_o, %next_s : !tokens, !state
  }

  // Both results of a token, projected, onto the residual.
  %y0 = linalg.contract indexing_maps = [#heads, #back, #rows] ins(%o_tt, %wo_tt : !tokens, !out) outs(%x : !x) -> !x
  %y = linalg.contract indexing_maps = [#heads, #back, #rows] ins(%o_ts, %wo_ts : !tokens, !out) outs(%y0 : !x) -> !x
  return %y, %last : !x, !state
}
