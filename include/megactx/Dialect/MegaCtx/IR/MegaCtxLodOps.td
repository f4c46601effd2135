//===- MegaCtxLodOps.td - level-of-detail gists ----------------*- tablegen -*-===//
//
// Owns the ops of MegaContext: gists that stand for many tokens, the working
// context made of them, and the edits that change its level of detail. They work
// on tensors, with results as values, and decompose to linalg and scf
// (AggregatedOpInterface) before bufferization.
//
// Terms. Level 0 is tokens; a gist of level l stands for r^l of them, r being
// the ratio, and its position is that of its last token: row j of level l stands
// at (j + 1) r^l - 1. An entry of a working context is a pair (lod, position).
// The entries before a batch row's length *tile the timeline*: each begins where
// the one before it ends, each at a multiple of its own r^lod tokens.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_LOD_OPS
#define MEGACTX_DIALECT_MEGACTX_LOD_OPS

include "mlir/IR/EnumAttr.td"

def MegaCtx_RatioAttr : ConfinedAttr<I64Attr, [IntMinValue<2>]>;
def MegaCtx_CountAttr : ConfinedAttr<I64Attr, [IntNonNegative]>;
def MegaCtx_EvenAttr : ConfinedAttr<I64Attr, [IntMinValue<2>,
    AttrConstraint<CPred<"::llvm::cast<::mlir::IntegerAttr>($_self).getInt() % 2 == 0">,
                   "which is even">]>;

def MegaCtx_PoolKindAttr : I32EnumAttr<"PoolKind", "how rows become a gist", [
    I32EnumAttrCase<"Mean", 0, "mean">, I32EnumAttrCase<"Query", 1, "query">,
    I32EnumAttrCase<"Cls", 2, "cls">]> {
  let cppNamespace = "::mlir::megactx";
}

def MegaCtx_GistPoolOp : MegaCtx_TensorOp<"gist_pool", [Pure]> {
  let summary = "one gist for every r rows";
  let description = [{
    input x [B, n, D] -> [B, floor(n / r), D] of the same element type (f32, f16,
    bf16), r = `ratio` rows per gist. Gist j is made of the rows x_t, j r <= t <
    (j + 1) r, accumulated in f32; an incomplete last block gives no gist:

    - `mean`: sum of x_t / r;
    - `query`: sum of p_t x_t, p = softmax over the block's t of <x_t, weight>
      (not scaled), weight [D];
    - `cls`: the block's first row.

    Constraints:
    * `gist_pool_c1`: input has rank 3, weight rank 1; f32, f16 or bf16.
    * `gist_pool_c2`: ratio is at least 2.
    * `gist_pool_c3`: weight is given for `query` and only there; it has input's
      element type and size D.
    * `gist_pool_c4`: the result is [B, floor(n / r), D] of input's element type.

    ```mlir
    %g = megactx.gist_pool query %x weight(%w) {ratio = 32 : i64}
        : (tensor<?x?x64xf32>, tensor<64xf32>) -> tensor<?x?x64xf32>
    ```

    Effects: none.
  }];
  let arguments = (ins MegaCtx_PoolKindAttr:$kind,
                       3DTensorOf<MegaCtx_Storage>:$input,
                       Optional<1DTensorOf<MegaCtx_Storage>>:$weight,
                       MegaCtx_RatioAttr:$ratio);
  let results = (outs 3DTensorOf<MegaCtx_Storage>:$result);
  let assemblyFormat = [{
    $kind $input (`weight` `(` $weight^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
}

def MegaCtx_GistPyramidOp : MegaCtx_TensorOp<"gist_pyramid",
    [RecursiveMemoryEffects, SingleBlock]> {
  let summary = "levels of gists, each made from the one below by the same body";
  let description = [{
    input [B, n, D] (f32, f16, bf16) -> results l = 1, 2, ... `levels`, level l
    being [B, floor(n / r^l), D] of the same element type, r = `ratio` rows per
    gist. The body is a compressor such as GistNet: it gets the rows of a level as
    [B, m r, D], whole blocks only, since an incomplete last block gives no gist,
    and the number of the level that it makes, 1 and up (index); it yields the
    gists [B, m, D] by `megactx.yield`. It may use values from outside, such as
    weights. Row j of level l stands for the r^l tokens up to (j + 1) r^l - 1.

    Run-time errors: a body whose result is not [B, m, D] ends the run.

    Constraints:
    * `gist_pyramid_c1`: input has rank 3; f32, f16 or bf16.
    * `gist_pyramid_c2`: ratio is at least 2, levels at least 1; r to levels is
      less than 2^62.
    * `gist_pyramid_c3`: the body's arguments are rows, of input's element type,
      with a dynamic dim 1 and input's dims 0 and 2 or dynamic ones, and an index.
    * `gist_pyramid_c4`: the body ends in a `megactx.yield` of rank 3 and input's
      element type that agrees on dims 0 and 2 with input.
    * `gist_pyramid_c5`: there are as many results as levels, of the types above.

    ```mlir
    %g1, %g2 = megactx.gist_pyramid %x {levels = 2 : i64, ratio = 32 : i64}
        : (tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>, tensor<?x?x64xf32>) {
    ^bb0(%rows: tensor<?x?x64xf32>, %level: index):
      %g = megactx.gist_pool query %rows weight(%w) {ratio = 32 : i64}
          : (tensor<?x?x64xf32>, tensor<64xf32>) -> tensor<?x?x64xf32>
      megactx.yield %g : tensor<?x?x64xf32>
    }
    ```

    Effects: those of the body; not speculated, as it may end the run.
  }];
  let arguments = (ins 3DTensorOf<MegaCtx_Storage>:$input,
                       MegaCtx_RatioAttr:$ratio,
                       ConfinedAttr<I64Attr, [IntPositive]>:$levels);
  let regions = (region SizedRegion<1>:$body);
  let results = (outs Variadic<3DTensorOf<MegaCtx_Storage>>:$gists);
  let hasRegionVerifier = 1;
  let assemblyFormat = [{
    $input attr-dict `:` functional-type(operands, results) $body
  }];
}

def MegaCtx_YieldOp : Op<MegaCtx_Dialect, "yield",
    [Pure, Terminator, HasParent<"GistPyramidOp">]> {
  let summary = "the gists that a body made";
  let description = [{
    Ends the body of `megactx.gist_pyramid`; see there.

    Effects: none.
  }];
  let arguments = (ins 3DTensorOf<MegaCtx_Storage>:$gists);
  let assemblyFormat = "$gists attr-dict `:` type($gists)";
}

def MegaCtx_GaussianRopeOp : MegaCtx_TensorOp<"gaussian_rope", [Pure]> {
  let summary = "rotary embedding of entries that stand for many tokens";
  let description = [{
    positions, lods [B, W] -> cos, sin [B, W, d / 2] of f32. With freq_k =
    base^(-2k / d), 0 <= k < d / 2, and sigma = max(1, r^lod), in tokens:

    ```
    cos = cos(position * freq_k) * exp(-(sigma * freq_k)^2 / 2)
    sin = sin(position * freq_k) * exp(-(sigma * freq_k)^2 / 2)
    ```

    the mean of the rotations over a normal distribution of positions with
    deviation sigma: what a gist's span cannot resolve fades. sigma is 1 at lod 0,
    so that tokens fade a little too: this is not plain rotary embedding. Angles
    are computed in f64, since f32 is off by 0.06 rad at a million tokens. Any
    lod and position has a result; negative lods are as lod 0. Positions are
    integers, or f32 where they stand between tokens.

    Constraints:
    * `gaussian_rope_c1`: positions and lods have rank 2 and agree on B and W;
      lods are index, i64 or i32, positions these or f32.
    * `gaussian_rope_c2`: ratio is at least 2, dim (d) is positive and even, base
      is finite and more than 1.
    * `gaussian_rope_c3`: cos and sin are [B, W, d / 2] of f32.

    ```mlir
    %cos, %sin = megactx.gaussian_rope %p, %l
        {base = 10000.0 : f32, dim = 64 : i64, ratio = 32 : i64}
        : (tensor<?x?xi64>, tensor<?x?xi64>)
        -> (tensor<?x?x32xf32>, tensor<?x?x32xf32>)
    ```

    Effects: none.

    Source: RoFormer (arXiv:2104.09864); E[cos(a + s z)] = cos(a) exp(-s^2 / 2)
    for normal z.
  }];
  let arguments = (ins 2DTensorOf<[Index, I64, I32, F32]>:$positions,
                       2DTensorOf<MegaCtx_Integer>:$lods,
                       MegaCtx_RatioAttr:$ratio, MegaCtx_EvenAttr:$dim,
                       DefaultValuedAttr<F32Attr, "10000.0">:$base);
  let results = (outs 3DTensorOf<[F32]>:$cos, 3DTensorOf<[F32]>:$sin);
  let assemblyFormat = [{
    $positions `,` $lods attr-dict `:` functional-type(operands, results)
  }];
}

def MegaCtx_LodGatherOp : MegaCtx_TensorOp<"lod_gather",
    [NoMemoryEffect, AttrSizedOperandSegments]> {
  let summary = "the rows that the entries of a working context stand for";
  let description = [{
    lods, positions [B, W], levels l = 0, 1, ... [B, N_l, D] -> [B, W, D] of the
    levels' element type: row floor(position / r^lod) of level lod, which is the
    row of the gist that holds the token at that position. Positions are in
    tokens, from 0. The rows of entries from `lengths` [B] on (clamped to 0..W;
    all exist without it) are 0, whatever their lod and position.

    Run-time errors: an entry with a lod that is no level's, or a row that the
    level lacks, ends the run.

    Constraints:
    * `lod_gather_c1`: lods and positions have rank 2, one element type out of
      index, i64 and i32, and agree on B and W; lengths is [B] of index.
    * `lod_gather_c2`: levels have rank 3, one element type out of f32, f16 and
      bf16, and agree on D, and on B with lods.
    * `lod_gather_c3`: ratio is at least 2; r to the number of levels is less
      than 2^62.
    * `lod_gather_c4`: the result is [B, W, D] of the levels' element type.

    ```mlir
    %c = megactx.lod_gather %l, %p levels(%x, %g) lengths(%n) {ratio = 32 : i64}
        : (tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?x64xf32>,
           tensor<?x?x64xf32>, tensor<?xindex>) -> tensor<?x?x64xf32>
    ```

    Effects: none; not speculated, as it may end the run.
  }];
  let arguments = (ins 2DTensorOf<MegaCtx_Integer>:$lods,
                       2DTensorOf<MegaCtx_Integer>:$positions,
                       3DTensorOf<MegaCtx_Storage>:$tokens,
                       Variadic<3DTensorOf<MegaCtx_Storage>>:$gists,
                       Optional<1DTensorOf<[Index]>>:$lengths,
                       MegaCtx_RatioAttr:$ratio);
  let results = (outs 3DTensorOf<MegaCtx_Storage>:$result);
  let extraClassDeclaration = [{
    /// Level 0, which are tokens, and the levels of gists above it.
    ::llvm::SmallVector<::mlir::Value> getLevels();
  }];
  let assemblyFormat = [{
    $lods `,` $positions `levels` `(` $tokens (`,` $gists^)? `)`
    (`lengths` `(` $lengths^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
}

def MegaCtx_LensScoreOp : MegaCtx_TensorOp<"lens_score", [Pure]> {
  let summary = "how much more (1) or less (-1) detail an entry deserves";
  let description = [{
    features f [B, W, F] with weight w [F], bias c (rank 0) and lods [B, W] ->
    scores [B, W] of f32: s = tanh(<f, w> + c), accumulated in f32; then what an
    entry cannot do is taken away: s = min(s, 0) where lod <= 0, as tokens never
    expand, and s = max(s, 0) where lod >= `top`, as the top level never
    collapses. NaN stays NaN.

    Constraints:
    * `lens_score_c1`: features have rank 3, weight rank 1, bias rank 0, of one
      element type out of f32, f16 and bf16; lods have rank 2 and are index, i64
      or i32.
    * `lens_score_c2`: weight has size F; lods agree with features on B and W.
    * `lens_score_c3`: top is at least 0.
    * `lens_score_c4`: the result is [B, W] of f32.

    ```mlir
    %s = megactx.lens_score %f, %w bias(%c) lods(%l) {top = 2 : i64}
        : (tensor<?x?x64xf32>, tensor<64xf32>, tensor<f32>, tensor<?x?xi64>)
        -> tensor<?x?xf32>
    ```

    Effects: none.
  }];
  let arguments = (ins 3DTensorOf<MegaCtx_Storage>:$features,
                       1DTensorOf<MegaCtx_Storage>:$weight,
                       Optional<0DTensorOf<MegaCtx_Storage>>:$bias,
                       2DTensorOf<MegaCtx_Integer>:$lods,
                       MegaCtx_CountAttr:$top);
  let results = (outs 2DTensorOf<[F32]>:$result);
  let assemblyFormat = [{
    $features `,` $weight (`bias` `(` $bias^ `)`)? `lods` `(` $lods `)` attr-dict
    `:` functional-type(operands, results)
  }];
}

def MegaCtx_FocusAllocateOp : MegaCtx_TensorOp<"focus_allocate", [NoMemoryEffect]> {
  let summary = "which entries of a working context to expand or collapse";
  let description = [{
    scores [B, W] of f32, lods and positions [B, W] -> edits [B, W] of the lods'
    type: 1 where an entry expands into its r children, -1 at the first of r
    entries that collapse into their parent, 0 elsewhere. `lengths` [B] (clamped
    to 0..W; W without it) says how many entries there are.

    Greedy, once through the entries by descending |score|, the earlier first
    among equals; an edit is made unless `max_edits` have been, where

    - expand: score >= expand_threshold, lod > 0, and the entries with all edits
      so far and the r - 1 more are at most `budget`;
    - collapse: score <= -collapse_threshold, lod < `top`, and the r entries from
      here are all the children of one parent;
    - no entry that it takes away is of another edit or one of the newest
      `recent` entries.

    A NaN score makes no edit.

    Run-time errors: entries that do not tile the timeline (a lod beyond `top`,
    positions that are not in order, not aligned, or leave a gap) end the run.

    Constraints:
    * `focus_allocate_c1`: scores, lods and positions have rank 2 and agree on B
      and W; lods and positions have one element type out of index, i64 and i32;
      lengths is [B] of index.
    * `focus_allocate_c2`: ratio is at least 2; top, recent and max_edits are at
      least 0, budget is at least 1; r to top + 1 is less than 2^62.
    * `focus_allocate_c3`: the thresholds are finite and positive.
    * `focus_allocate_c4`: the result has the type of lods.

    ```mlir
    %e = megactx.focus_allocate %s, %l, %p
        {budget = 8192 : i64, collapse_threshold = 0.25 : f32,
         expand_threshold = 0.25 : f32, max_edits = 4 : i64, ratio = 32 : i64,
         recent = 128 : i64, top = 2 : i64}
        : (tensor<?x?xf32>, tensor<?x?xi64>, tensor<?x?xi64>) -> tensor<?x?xi64>
    ```

    Effects: none; not speculated, as it may end the run.
  }];
  let arguments = (ins 2DTensorOf<[F32]>:$scores,
                       2DTensorOf<MegaCtx_Integer>:$lods,
                       2DTensorOf<MegaCtx_Integer>:$positions,
                       Optional<1DTensorOf<[Index]>>:$lengths,
                       MegaCtx_RatioAttr:$ratio, MegaCtx_CountAttr:$top,
                       F32Attr:$expand_threshold, F32Attr:$collapse_threshold,
                       MegaCtx_CountAttr:$recent, MegaCtx_CountAttr:$max_edits,
                       ConfinedAttr<I64Attr, [IntPositive]>:$budget);
  let results = (outs 2DTensorOf<MegaCtx_Integer>:$result);
  let assemblyFormat = [{
    $scores `,` $lods `,` $positions (`lengths` `(` $lengths^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
}

def MegaCtx_FocusApplyOp : MegaCtx_TensorOp<"focus_apply",
    [NoMemoryEffect, AttrSizedOperandSegments]> {
  let summary = "the working context after edits";
  let description = [{
    rows [B, W, D] of entries with lods, positions [B, W], edits [B, W] as
    `megactx.focus_allocate` gives them, and levels l = 0, 1, ... [B, N_l, D] ->
    new context [B, M, D], lods and positions [B, M], lengths [B] (index), M =
    `budget`. Entries without an edit keep their row; children
    and parents take theirs from the levels, row floor(position / r^lod). The
    new entries tile the timeline that the old ones did. From the new length on,
    rows are 0, lods and positions -1. `lengths` [B] (clamped to 0..W; W without
    it) says how many entries there are.

    Run-time errors end the run: entries that do not tile the timeline; an edit
    other than 1 (of an entry above lod 0), 0 and -1 (at the first of the r
    children of a parent that has a level, without further edits); more new
    entries than the budget; a new entry whose row its level lacks.

    Constraints:
    * `focus_apply_c1`: rows have rank 3, lods, positions and edits rank 2, one
      element type out of index, i64 and i32, and agree on B and W; lengths is
      [B] of index.
    * `focus_apply_c2`: levels have rank 3, the element type of rows (f32, f16,
      bf16) and D, and agree on B with lods.
    * `focus_apply_c3`: ratio is at least 2, budget at least 1; r to the number
      of levels is less than 2^62.
    * `focus_apply_c4`: the results are [B, M, D], [B, M], [B, M] and [B].

    ```mlir
    %c1, %l1, %p1, %n1 = megactx.focus_apply %c, %l, %p, %e levels(%x, %g)
        {budget = 8192 : i64, ratio = 32 : i64}
        : (tensor<?x?x64xf32>, tensor<?x?xi64>, tensor<?x?xi64>,
           tensor<?x?xi64>, tensor<?x?x64xf32>, tensor<?x?x64xf32>)
        -> (tensor<?x8192x64xf32>, tensor<?x8192xi64>, tensor<?x8192xi64>,
            tensor<?xindex>)
    ```

    Effects: none; not speculated, as it may end the run.
  }];
  let arguments = (ins 3DTensorOf<MegaCtx_Storage>:$rows,
                       2DTensorOf<MegaCtx_Integer>:$lods,
                       2DTensorOf<MegaCtx_Integer>:$positions,
                       2DTensorOf<MegaCtx_Integer>:$edits,
                       3DTensorOf<MegaCtx_Storage>:$tokens,
                       Variadic<3DTensorOf<MegaCtx_Storage>>:$gists,
                       Optional<1DTensorOf<[Index]>>:$lengths,
                       MegaCtx_RatioAttr:$ratio,
                       ConfinedAttr<I64Attr, [IntPositive]>:$budget);
  let results = (outs 3DTensorOf<MegaCtx_Storage>:$new_context,
                      2DTensorOf<MegaCtx_Integer>:$new_lods,
                      2DTensorOf<MegaCtx_Integer>:$new_positions,
                      1DTensorOf<[Index]>:$new_lengths);
  let extraClassDeclaration = [{
    /// Level 0, which are tokens, and the levels of gists above it.
    ::llvm::SmallVector<::mlir::Value> getLevels();
  }];
  let assemblyFormat = [{
    $rows `,` $lods `,` $positions `,` $edits
    `levels` `(` $tokens (`,` $gists^)? `)` (`lengths` `(` $lengths^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
}

#endif // MEGACTX_DIALECT_MEGACTX_LOD_OPS
