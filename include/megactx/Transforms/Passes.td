//===- Passes.td - passes within one level ---------------------*- tablegen -*-===//
//
// Owns the declarations of every pass that stays within one level. Passes
// between levels are declared in megactx/Conversion/Passes.td.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_PASSES
#define MEGACTX_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

def NormalizeOnnxPass : Pass<"megactx-normalize-onnx", "::mlir::ModuleOp"> {
  let summary = "bring an ONNX module to the one opset that lowerings know";
  let description = [{
    Before: an `onnx` module of any opset. After: opset 27 of ai.onnx, every
    value with the type that ONNX's shape inference (with data propagation)
    finds, local functions and composite operators without a lowering inlined,
    and of an `If` whose condition follows from sizes and ranks that are known
    the branch that is taken. Sequences of tensors that are known one by one are
    these tensors. Weights are not touched. A module with other ops than ONNX's
    nodes is past this and left as it is. Uses ONNX's own version converter,
    inliner and shape inference.
  }];
  let dependentDialects = ["::mlir::onnx::OnnxDialect",
                           "::mlir::func::FuncDialect"];
}

def DecomposePatternsPass : Pass<"megactx-decompose-patterns"> {
  let summary = "split attention into links of one piece each";
  let description = [{
    Before: `megactx.attention` over sources with patterns. After: per attention a
    chain of `megactx.online_attention`, one per piece of each source's pattern in
    the order of the sources, that starts from fills and ends in
    `megactx.finish_attention`. Pieces of one pattern are disjoint, so nothing is
    counted twice; a pattern without keys adds no link. Sizes that only a run
    knows get checks that end it where they are not what the op's constraints say,
    positions of keys one that ends it where they decrease. `megactx.attention_backward`
    likewise becomes links of `megactx.online_attention_backward`, whose sums
    start from zero.

    ```mlir
    %s = megactx.source %k, %v pattern(#megactx.pattern<window<left = 3, right = 0>>) : ...
    %o = megactx.attention %q, %s {scale = 1.0 : f32} : ...
    ```
    becomes
    ```mlir
    %l:3 = megactx.online_attention %q, %k, %v outs(%zeros, %least, %none)
        #megactx.piece<lo<p - 3>, hi<p + 1>> {scale = 1.0 : f32} : ...
    %o:2 = megactx.finish_attention %l#0, %l#1, %l#2 outs(%out, %lse) : ...
    ```
  }];
  let dependentDialects = ["::mlir::megactx::MegaCtxDialect"];
  let statistics = [
    Statistic<"numPieces", "pieces", "pieces of all patterns">,
    Statistic<"numChains", "chains", "attentions and gradients decomposed">
  ];
}

def FuseAttentionPiecesPass : Pass<"megactx-fuse-attention-pieces"> {
  let summary = "gather links that see their queries alike into fused attention";
  let description = [{
    Before: chains of `megactx.online_attention` from fills to
    `megactx.finish_attention`. After: a `megactx.fused_attention` per source and
    query view (all rows first), each but the first accumulating onto the one
    before. Rows whose step is not one token have no views: residues become a
    test per element. Chains that no kernel can take stay as they are: tiles,
    states that come from elsewhere, head dims that the options exclude. Of the
    last a warning says so, once for each place and reason.

    Links of gradients likewise become `megactx.fused_query_gradient`, of pieces
    that see their query rows alike, `megactx.fused_key_gradient`, of those that
    see their key rows alike, and `megactx.fused_bias_gradient` for each bias whose
    gradient is wanted: by distance where all that reads it is
    `megactx.diagonal_sums`.

    ```mlir
    %a:3 = megactx.online_attention %q, %k, %v outs(%zeros, %least, %none) #p0 ...
    %b:3 = megactx.online_attention %q, %k, %v outs(%a#0, %a#1, %a#2) #p1 ...
    %o:2 = megactx.finish_attention %b#0, %b#1, %b#2 outs(%out, %lse) : ...
    ```
    becomes, where p0 and p1 have one query view,
    ```mlir
    %o:2 = megactx.fused_attention %q, %k, %v outs(%out, %lse) [#p0, #p1] ...
    ```
  }];
  let options = [
    Option<"maxHeadDim", "max-head-dim", "int64_t", "0",
           "elements; larger and dynamic head dims stay (0: all fuse)">,
    Option<"headDimMultiple", "head-dim-multiple", "int64_t", "1",
           "with a maximum: head dims that are no multiple of it stay">,
    Option<"maxGradientDim", "max-gradient-dim", "int64_t", "0",
           "max-head-dim of links of gradients">,
    Option<"biasParts", "bias-parts", "int64_t", "16",
           "parts that the gradient of a bias is summed in, where its elements have pairs of many queries: what adds at the same time adds to its own, or (1) atomically">
  ];
  let dependentDialects = ["::mlir::megactx::MegaCtxDialect"];
  let statistics = [
    Statistic<"numFused", "fused", "fused attentions made">,
    Statistic<"numLeft", "left", "chains left as links">
  ];
}

def SplitStepsPass : Pass<"megactx-split-steps", "::mlir::func::FuncOp"> {
  let summary = "do all steps of a loop for each slice of what it carries";
  let description = [{
    Before: linalg on tensors, in `scf.for` whose steps depend on each other. After:
    where each step keeps the slices of all that is carried apart, as those of
    batch and heads in a recurrent state, slices are taken in parallel
    (`scf.forall`), and for each the loop over the steps is done to its end: one
    launch in all, and a slice's state stays in a core's cache, where it is
    updated in place if the update is elementwise.

    Slices are those of the leading dims of the state: of what is carried, but for
    what steps only put parts into, the tensor of most dims. As many dims are cut as
    leave `least-elements` in a slice; where any are, so is the last one, into
    `columns`, if it can be and is a multiple. Every op that a cut tensor passes
    through must be parallel in the cut dim, or a reshape or slice that leaves it
    whole; other tensors are read whole. A loop stays as it is where something
    carried is not cut, where ops have effects or compute what is the same for all
    slices, and where a sum reads a tensor that is not cut, such as weights, which
    one product for all slices reads once. A loop that turns out to have one step,
    as in decoding, is not split: its state would be copied to be read once.

    ```mlir
    %s, %o = scf.for %t = ... iter_args(%state = %start, %rows = %empty) -> (tensor<?x16x128x128xf32>, ...) {
      ...                                           // of all heads
    }
    ```
    becomes
    ```mlir
    %s, %o = scf.if %has_one_step { ... } else {
      scf.forall (%i) in (%batch_times_64) shared_outs(%ends = ..., %all = ...) {
        %mine = bufferization.alloc_tensor() copy(%start[%i / 64, %i / 4 % 16, 0, 32 * (%i % 4)]) : tensor<1x1x128x32xf32>
        %e, %r = scf.for %t = ... iter_args(%state = %mine, ...) {
          ...                                       // of 32 columns of one head
        }
        scf.forall.in_parallel { tensor.parallel_insert_slice %e into %ends ... }
      }
    }
    ```
  }];
  let options = [
    Option<"leastElements", "least-elements", "int64_t", "256",
           "elements of a slice of the state, at least, where sizes are known">,
    Option<"mostElements", "most-elements", "int64_t", "262144",
           "elements of a slice, at most, where sizes are known: larger ones stay "
           "in no core's cache, and a step of them is work for all cores">,
    Option<"columns", "columns", "int64_t", "32",
           "elements of the state's last dim at a time: with more, sums of its "
           "rows are in memory and not in registers (0: all of them)">
  ];
  let statistics = [
    Statistic<"numSplit", "split", "loops done slice by slice">
  ];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

def FuseLodPass : Pass<"megactx-fuse-lod"> {
  let summary = "fuse pooling with the attention before it, rotary embedding with "
                "what writes queries and keys";
  let description = [{
    Before: fused attention and gists on tensors, what is between them in linalg.
    After:

    - *Pooling.* A `megactx.gist_pool` of rows that an attention gives, directly
      or through ops that keep rows apart (transpositions, elementwise ops,
      normalisations, products with weights), gets `rows` of them at a time: a
      loop over blocks of rows, each of which is computed from its queries to its
      gists. Rows are whole nowhere in memory, from the first op that is for them
      alone. It holds for every kind of pooling, pattern, number of sources and
      target, since no kernel is changed; a row's numbers are what they were.
      What another op uses too is computed as it was, as are rows of an incomplete
      block no longer.
    - *Rotary embedding.* A value whose halves are computed from both halves of
      another, such as rotated queries, becomes one op that reads each row once,
      the transposition of heads before it included. Tables of cos and sin, of
      `megactx.gaussian_rope` or otherwise, are read, not computed for each head.

    ```mlir
    %o:2 = megactx.fused_attention %q, %k, %v outs(%out, %lse) ... : ([B, H, N, D], ...)
    %g = megactx.gist_pool mean %o#0 {ratio = 32} : [B, N, D] -> [B, N / 32, D]
    ```
    becomes, H being 1 and reshapes left out,
    ```mlir
    %g = scf.for %j = 0 to %n / 32 step 32 iter_args(%gists = %empty) {
      %rows = tensor.extract_slice %q[0, 0, 32 * %j, 0] ...
      %p:2 = megactx.fused_attention %rows, %k, %v query_offset(32 * %j) outs(%part, %lse) ...
      %h = megactx.gist_pool mean %p#0 {ratio = 32} : ...
      %next = tensor.insert_slice %h into %gists[0, %j, 0] ...
    ```

    Remarks (`--remarks-filter=fuse-lod`): `pooling-fused` and `rotation-fused`;
    `pooling-not-fused` and `rotation-not-fused` with the reason.
  }];
  let options = [
    Option<"rows", "rows", "int64_t", "32768",
           "rows of attention at a time, of all heads and batch rows, rounded down "
           "to whole gists, at least one; 0: pooling is not fused">
  ];
  let statistics = [
    Statistic<"numPoolings", "poolings", "poolings fused with attention">,
    Statistic<"numPoolingsLeft", "poolings-left",
              "poolings of attention that were not">,
    Statistic<"numRotations", "rotations", "rotary embeddings in one pass">,
    Statistic<"numRotationsLeft", "rotations-left", "others">
  ];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::megactx::MegaCtxDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
}

def AttentionLayoutPass
    : Pass<"megactx-attention-layout", "::mlir::func::FuncOp"> {
  let summary = "read and write attention's rows where they are";
  let description = [{
    Before: `megactx.fused_attention` and fused gradients on tensors. After: no
    transpose moves rows only for attention. Queries, keys and values [B, H, N, D] that are transposed
    from [B, N, H, D], a slice of a joint projection among them, and results that
    are transposed back are views of that memory (`megactx.transpose_view`), whose
    rows have strides. A transpose with other users stays, as do all that take
    rows apart.

    Kernels may need rows that start at multiples of `row-bytes`. Where a slice's
    may not, rows are not viewed, and are copied if nothing else did; so are rows
    whose elements have strides.

    ```mlir
    %q = linalg.transpose ins(%rows : tensor<?x?x8x64xf32>) outs(...) permutation = [0, 2, 1, 3]
    %o:2 = megactx.fused_attention %q, ... outs(%empty, %lse) ...
    %r = linalg.transpose ins(%o#0 : tensor<?x8x?x64xf32>) outs(...) permutation = [0, 2, 1, 3]
    ```
    becomes
    ```mlir
    %q = megactx.transpose_view %rows permutation = [0, 2, 1, 3] ...
    %out = megactx.transpose_view %empty permutation = [0, 2, 1, 3] ...
    %o:2 = megactx.fused_attention %q, ... outs(%out, %lse) ...
    %r = megactx.transpose_view %o#0 permutation = [0, 2, 1, 3] ...
    ```
  }];
  let options = [
    Option<"rowBytes", "row-bytes", "int64_t", "1",
           "rows start at multiples of this many bytes">
  ];
  let statistics = [
    Statistic<"numRead", "read", "operands read where they are">,
    Statistic<"numWritten", "written", "results written where they are used">,
    Statistic<"numCopied", "copied", "operands copied, to be aligned">
  ];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
                           "::mlir::megactx::MegaCtxDialect",
                           "::mlir::tensor::TensorDialect"];
}

def TileAttentionPass : Pass<"megactx-tile-attention"> {
  let summary = "loops over tiles of online attention, within the piece's bounds";
  let description = [{
    Before: `megactx.online_attention` on tensors. After: `scf.for` over batch,
    head, `query-tile` rows and `key-tile` keys, with the op on one tile within.
    The loop over keys runs from the lowest bound of the tile's first row to the
    highest of its last, in closed form, so that tiles without keys cost nothing:
    a window takes time in proportion to its width. The generic lowering of tiles
    needs scores for one tile only.

    ```mlir
    %l:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum)
        #megactx.piece<lo<p - 7>, hi<p + 1>> ...
    ```
    becomes
    ```mlir
    scf.for %b ... scf.for %h ... scf.for %i = 0 to %nq step 64 {
      %rows = min(64, %nq - %i)
      scf.for %j = max(%i - 7, 0) to min(%i + %rows, %nk) step 64 {
        %t:3 = megactx.online_attention %qt, %kt, %vt
            origin(%b, %h, %i, %j, %nk) outs(%acct, %maxt, %sumt) ...
    ```
  }];
  let options = [
    Option<"queryTile", "query-tile", "int64_t", "64", "rows, at least 1">,
    Option<"keyTile", "key-tile", "int64_t", "64", "keys, at least 1">
  ];
  let statistics = [Statistic<"numTiled", "tiled", "links tiled">];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::megactx::MegaCtxDialect",
                           "::mlir::scf::SCFDialect"];
}

def ExpandDynamicShapesPass : Pass<"megactx-expand-dynamic-shapes"> {
  let summary = "memref.expand_shape with several dynamic sizes, spelled out";
  let description = [{
    After: no `memref.expand_shape` has a group with two dynamic sizes; such ones
    are `memref.reinterpret_cast` with the sizes that the op names. Upstream's
    `expand-strided-metadata` takes care of the others.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect"];
}

def CopiesToLinalgPass : Pass<"megactx-copies-to-linalg"> {
  let summary = "memref.copy as linalg, so that it becomes a parallel loop";
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def SparsifyPass : Pass<"megactx-sparsify"> {
  let summary = "give attentions sparse patterns, by policy";
  let description = [{
    After: the sources of each attention that the policy is for attend where the
    policy's pattern and their own do. A single `pattern` is for all
    self-attention; a policy file is described in `docs/policies.md`.
    Without either nothing changes.
  }];
  let options = [
    Option<"pattern", "pattern", "std::string", "\"\"",
           "pattern for all self-attention">,
    Option<"policy", "policy", "std::string", "\"\"", "policy file (JSON)">,
    Option<"step", "step", "int64_t", "0", "training step, for schedules">
  ];
  let statistics = [
    Statistic<"numSparsified", "sparsified", "attentions given a pattern">
  ];
  let dependentDialects = ["::mlir::megactx::MegaCtxDialect"];
}

def RemarkReachPass : Pass<"megactx-remark-reach", "::mlir::ModuleOp"> {
  let summary = "remark on what a stack of sparse self-attentions reaches";
  let description = [{
    Changes nothing. Emits remarks of the category `remark-reach` through MLIR's
    remark engine: on the first self-attention whether the model's, one after
    another and in any head, carry information from every past position to every
    row, with the sets of positions that no layer connects, and, on the one whose
    pattern would mend it, the cheapest addition; on each whose strides or blocks
    cut gists, the nearest period that does not. `megactx/Pattern/Connectivity.h`
    says what is checked; the answer holds for `tokens` rows.
  }];
  let options = [
    Option<"tokens", "tokens", "int64_t", "4096", "rows to check, at most 4096">,
    Option<"gist", "gist", "int64_t", "1",
           "tokens of a gist, where a pattern has no pyramid of its own">
  ];
}

def ExpandDotPairsPass : Pass<"megactx-expand-dot-pairs"> {
  let summary = "products of pairs in ops of which LLVM makes an instruction";
  let description = [{
    After: no `megactx.dot_pairs` is left. Of vectors it is the product of their
    numbers of 16 bits, widened, whose neighbours are added, which LLVM's x86
    target matches; of single words, shifts and two products.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::vector::VectorDialect"];
}

def ApproximateMathPass : Pass<"megactx-approximate-math"> {
  let summary = "functions of f32 as polynomials, small powers as products";
  let description = [{
    After: transcendental functions of f32 that a vectorizer would otherwise stop
    at are arithmetic, with errors of a few units in the last place, of any number:
    sin and cos take multiples of pi/2 off large ones by the bits of 2/pi.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
}

include "megactx/Transforms/FusionPasses.td"
include "megactx/Transforms/MemoryPasses.td"
include "megactx/Transforms/WeightPasses.td"

#endif // MEGACTX_TRANSFORMS_PASSES
