//===- MegaCtxOps.td - attention with sparse patterns ----------*- tablegen -*-===//
//
// Owns the `megactx` dialect: patterns and pieces as attributes, attention over
// several sources, its links of one piece each, and the fused form that targets
// emit kernels for; gradients, level-of-detail gists, routing, views and products
// with epilogues in files of their own. Knows no ONNX and no target.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_OPS
#define MEGACTX_DIALECT_MEGACTX_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/Dialect/Linalg/IR/LinalgInterfaces.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/TilingInterface.td"
include "megactx/Dialect/MegaCtx/IR/AttentionLinkInterface.td"

def MegaCtx_Dialect : Dialect {
  let name = "megactx";
  let cppNamespace = "::mlir::megactx";
  let summary = "sparse attention patterns and level-of-detail gists";
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"
  ];
  let extraClassDeclaration = [{
    /// `#megactx.name<body>`: the body is the pattern library's own text.
    ::mlir::Attribute parseAttribute(::mlir::DialectAsmParser &parser,
                                     ::mlir::Type type) const override;
    void printAttribute(::mlir::Attribute attr,
                        ::mlir::DialectAsmPrinter &os) const override;
  }];
}

//===----------------------------------------------------------------------===//
// Attributes and types
//===----------------------------------------------------------------------===//

def MegaCtx_PatternAttr : AttrDef<MegaCtx_Dialect, "Pattern"> {
  let attrName = "megactx.pattern";
  let summary = "which keys a query position attends";
  let description = [{
    A relation between query positions p and key positions k, in tokens, in the
    grammar of `megactx/Pattern/Pattern.h`:

    ```mlir
    #megactx.pattern<causal and (window<left = 127, right = 0> or strided<stride = 128>)>
    ```

    Source: Sparse Transformers (arXiv:1904.10509), Longformer
    (arXiv:2004.05150), BigBird (arXiv:2007.14062).
  }];
  let parameters = (ins "::mlir::megactx::pattern::Pattern":$pattern);
}

def MegaCtx_PieceAttr : AttrDef<MegaCtx_Dialect, "Piece"> {
  let attrName = "megactx.piece";
  let summary = "one of the disjoint pieces of a pattern";
  let description = [{
    Keys between bounds, seen through residues, with a test per element; see
    `megactx/Pattern/Piece.h`. All positions are in tokens.

    ```mlir
    #megactx.piece<lo<p - 127>, hi<p + 1>>
    ```
  }];
  let parameters = (ins "::mlir::megactx::pattern::Piece":$piece);
}

def MegaCtx_PiecesAttr : TypedArrayAttrBase<MegaCtx_PieceAttr, "pieces">;

def MegaCtx_SourceType : TypeDef<MegaCtx_Dialect, "Source"> {
  let mnemonic = "source";
  let summary = "keys and values with the pattern that selects from them";
  let parameters = (ins "::mlir::RankedTensorType":$key,
                        "::mlir::RankedTensorType":$value);
  let assemblyFormat = "`<` $key `,` $value `>`";
}

def MegaCtx_KindAttr : StringBasedAttr<
    CPred<"::llvm::isa<::mlir::StringAttr>($_self) && "
          "(::llvm::cast<::mlir::StringAttr>($_self).getValue() == \"self\" || "
          "::llvm::cast<::mlir::StringAttr>($_self).getValue() == \"cross\")">,
    "\"self\" or \"cross\"">;

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def MegaCtx_SourceOp : Op<MegaCtx_Dialect, "source",
    [Pure, AttrSizedOperandSegments]> {
  let summary = "keys and values with a pattern";
  let description = [{
    key [B, Hkv, Nk, D], value [B, Hkv, Nk, Dv]; key row j stands at position
    j * key_step + offset (tokens), or where `positions` says. key_step is also
    how many tokens a row stands for, by which patterns such as `pyramid` know
    the source's level.

    - `bias`: one or several tensors, all added to the scaled scores; f32, rank
      4, each dim 1 or that of [B, Hq, Nq, Nk].
    - `lengths` (index tensor [B]): keys from this row on do not exist.
    - `segments` (index tensor [B, Nk]): which segment each key row belongs to, as
      the pattern `segments` reads it; not decreasing along a batch's rows that
      exist, which is checked when the program runs. A query belongs to the segment
      of the key at its position, or of the nearest one that exists.
    - `positions` (index tensor [B, Nk]): where each key row stands, in tokens,
      not decreasing along a batch's rows that exist. It is checked when the
      program runs; other positions end the run.
    - `everywhere`: rows that stand at no position, as tokens do that all queries
      see; a policy leaves them as they are.

    Constraints:
    * `source_c1`: key and value have rank 4, the same element type (f32, f16,
      bf16) and agree on B, Hkv and Nk.
    * `source_c2`: key_step is 1 to 2^40, and where the pattern spans levels of
      gists (`pyramid`), one of theirs.
    * `source_c3`: biases have rank 4 and element type f32; lengths is [B].
    * `source_c4`: the result has the types of key and value.
    * `source_c5`: positions is [B, Nk] of index, and then there is no offset.
    * `source_c6`: segments is [B, Nk]; with them key_step is 1 and there are no
      positions.
    * `source_c7`: with `everywhere` the pattern is dense.

    ```mlir
    %s = megactx.source %k, %v offset(%o) pattern(#megactx.pattern<causal>)
        : (tensor<1x8x?x64xf32>, tensor<1x8x?x64xf32>, index)
        -> !megactx.source<tensor<1x8x?x64xf32>, tensor<1x8x?x64xf32>>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$key, AnyRankedTensor:$value,
                       Variadic<AnyRankedTensor>:$biases,
                       Optional<1DTensorOf<[Index]>>:$lengths,
                       Optional<2DTensorOf<[Index]>>:$segments,
                       Optional<Index>:$offset,
                       Optional<2DTensorOf<[Index]>>:$positions,
                       MegaCtx_PatternAttr:$pattern,
                       DefaultValuedAttr<I64Attr, "1">:$key_step,
                       UnitAttr:$everywhere);
  let results = (outs MegaCtx_SourceType:$result);
  let assemblyFormat = [{
    $key `,` $value (`bias` `(` $biases^ `)`)? (`lengths` `(` $lengths^ `)`)?
    (`segments` `(` $segments^ `)`)? (`offset` `(` $offset^ `)`)? (`positions` `(` $positions^ `)`)?
    `pattern` `(` $pattern `)` (`everywhere` $everywhere^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def MegaCtx_AttentionOp : Op<MegaCtx_Dialect, "attention",
    [Pure, AttrSizedOperandSegments,
     DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                               ["reifyResultShapes"]>]> {
  let summary = "softmax(scale * q k^T) v over all sources, one softmax";
  let description = [{
    score = softcap(scale * <q, k>) + biases, one softmax over the keys that the
    sources' patterns select, out = sum of p * v. q [B, Hq, Nq, D], out
    [B, Hq, Nq, Dv] of q's element type, lse [B, Hq, Nq] f32, natural log.
    Query head h reads key head h / (Hq / Hkv). Query row i stands at position
    i * query_step + offset (tokens), or at `positions` [B, Nq] (index), which
    need no order. The offset is one for all, or an index tensor [B] with one for
    each entry of the batch, such as the lengths of caches. A row that sees no key gives 0 and lse minus infinity.
    softcap(x) = softcap * tanh(x / softcap).

    Constraints:
    * `attention_c1`: at least one source; q has rank 4 and the sources' element
      type.
    * `attention_c2`: q and every source agree on B and D, where static, and Hq
      is a multiple of Hkv.
    * `attention_c3`: out is [B, Hq, Nq, Dv], lse is [B, Hq, Nq] of f32.
    * `attention_c4`: scale is finite; softcap, if given, is positive and finite.
    * `attention_c5`: query_step is 1 to 2^40 (tokens).
    * `attention_c6`: positions is [B, Nq] of index, and then there is no offset.
    * `attention_c7`: an offset that is a tensor is [B].

    ```mlir
    %out = megactx.attention %q, %s offset(%p) {scale = 0.125 : f32}
        : (tensor<1x8x?x64xf32>, !source, index) -> tensor<1x8x?x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$query,
                       Variadic<MegaCtx_SourceType>:$sources,
                       Optional<AnyTypeOf<[Index, 1DTensorOf<[Index]>]>>:$offset,
                       Optional<2DTensorOf<[Index]>>:$positions,
                       F32Attr:$scale,
                       OptionalAttr<F32Attr>:$softcap,
                       DefaultValuedAttr<I64Attr, "1">:$query_step,
                       DefaultValuedAttr<MegaCtx_KindAttr, "\"self\"">:$kind);
  let results = (outs AnyRankedTensor:$out, Optional<AnyRankedTensor>:$lse);
  let assemblyFormat = [{
    $query `,` $sources (`offset` `(` $offset^ `)`)?
    (`positions` `(` $positions^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// What links of attention and of its gradients, and their fused forms, share
//===----------------------------------------------------------------------===//

defvar MegaCtx_LinkOperands = (ins
    AnyShaped:$query, AnyShaped:$key, AnyShaped:$value,
    Variadic<AnyShaped>:$biases, Optional<AnyShaped>:$lengths,
    Optional<AnyShaped>:$segment_bounds,
    Optional<AnyTypeOf<[Index, AnyShaped]>>:$query_offset,
    Optional<Index>:$key_offset,
    Optional<AnyShaped>:$query_positions, Optional<AnyShaped>:$key_positions);

defvar MegaCtx_LinkAttrs = (ins
    F32Attr:$scale, OptionalAttr<F32Attr>:$softcap,
    DefaultValuedAttr<I64Attr, "1">:$query_step,
    DefaultValuedAttr<I64Attr, "1">:$key_step);

defvar MegaCtx_LinkFormat = [{
    $query `,` $key `,` $value (`bias` `(` $biases^ `)`)?
    (`lengths` `(` $lengths^ `)`)? (`segments` `(` $segment_bounds^ `)`)?
    (`query_offset` `(` $query_offset^ `)`)?
    (`key_offset` `(` $key_offset^ `)`)?
    (`query_positions` `(` $query_positions^ `)`)?
    (`key_positions` `(` $key_positions^ `)`)?
}];

def MegaCtx_OnlineAttentionOp : Op<MegaCtx_Dialect, "online_attention",
    [AttrSizedOperandSegments, DestinationStyleOpInterface,
     AttentionLinkInterface,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
     DeclareOpInterfaceMethods<AggregatedOpInterface, ["decomposeOperation"]>,
     DeclareOpInterfaceMethods<TilingInterface, [
       "getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
       "getResultTilePosition", "generateResultTileValue",
       "getIterationDomainTileFromResultTile"]>,
     DeclareOpInterfaceMethods<PartialReductionOpInterface, [
       "generateInitialTensorForPartialReduction", "tileToPartialReduction",
       "mergeReductions", "getPartialResultTilePosition"]>]> {
  let summary = "a link of attention: one piece of one source, online softmax";
  let description = [{
    Adds the keys that the piece selects to a softmax in progress. With scores
    s = softcap(scale * <q, k>) + biases, minus infinity where the piece does not
    hold, per row:

    ```
    max' = max(max, max over k of s)
    sum' = sum * exp(max - max') + sum over k of exp(s - max')
    acc' = acc * exp(max - max') + sum over k of exp(s - max') * v
    ```

    It starts from acc = 0, max = -inf, sum = 0 and ends in
    `megactx.finish_attention`. q [B, Hq, Nq, D], k [B, Hkv, Nk, D],
    v [B, Hkv, Nk, Dv], acc [B, Hq, Nq, Dv], max and sum [B, Hq, Nq]. Operands are
    f32, f16 or bf16; the state is f32. Query head h reads key head
    h / (Hq / Hkv). Query row i stands at position i * query_step + query_offset,
    key row j at j * key_step + key_offset (tokens), or where query_positions
    [B, Nq] and key_positions [B, Nk] (index) say; key positions do not decrease
    along the rows that exist. query_offset is one for all, or index [B], one for
    each entry of the batch. A row that sees no key keeps its state.

    - `bias`: one or several tensors, all added to the scaled scores; f32, each
      dim 1 or that of [B, Hq, Nq, Nk].
    - `lengths` (index [B]): key rows from this one on do not exist.
    - `segments` (index [B, Nk + 1, 2]): the first key row of the segment of each
      row, and one past its last, for pieces that read `segment_begin` and
      `segment_end`; those of the last row again at the end.
    - `origin(b0, h0, i0, j0, n)`: the operands are the tile of a larger op that
      starts at its batch b0, query head h0, query row i0 and key row j0; the
      larger op has n key rows. Offsets, lengths and positions are the larger
      op's. Tiling adds it, so that positions and heads stay what they were.

    Constraints:
    * `online_attention_c1`: query, key, value and acc have rank 4, max and sum
      rank 3.
    * `online_attention_c2`: query, key and value have one element type out of
      f32, f16 and bf16; acc, max and sum have f32.
    * `online_attention_c3`: key and value agree on B, Hkv and Nk, query and key
      on B and D.
    * `online_attention_c4`: Hq is a multiple of Hkv.
    * `online_attention_c5`: acc is [B, Hq, Nq, Dv], max and sum are [B, Hq, Nq].
    * `online_attention_c6`: biases have rank 4, element type f32, and dims of 1
      or those of [B, Hq, Nq, Nk]; lengths is [B] of index.
    * `online_attention_c7`: scale is finite; softcap, if given, is positive and finite.
    * `online_attention_c8`: query_step and key_step are 1 to 2^40 (tokens).
    * `online_attention_c9`: origin has five values or none.
    * `online_attention_c10`: a piece that reads values per row reads those of
      `segments`, which is there then and of rank 3.
    * `online_attention_c11`: positions are [B, Nq] and [B, Nk] of index; with
      them there is no offset of the same rows.
    * `online_attention_c12`: a query_offset that is no index is [B] of index.

    ```mlir
    %r:3 = megactx.online_attention %q, %k, %v query_offset(%p)
        outs(%acc, %max, %sum) #megactx.piece<hi<p + 1>> {scale = 0.125 : f32}
        : (tensor<1x8x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, index,
           tensor<1x8x?x64xf32>, tensor<1x8x?xf32>, tensor<1x8x?xf32>)
        -> (tensor<1x8x?x64xf32>, tensor<1x8x?xf32>, tensor<1x8x?xf32>)
    ```

    Effects: none on tensors; on memrefs it reads its operands and updates the
    state. Tiles over batch, head, query rows and keys; keys may be split, their
    states are merged by log-sum-exp. A tile of heads is one head, or any where
    query and key heads are as many or there is one key head.

    Source: Online normalizer calculation for softmax (arXiv:1805.02867),
    FlashAttention-2 (arXiv:2307.08691).
  }];
  let arguments = !con(MegaCtx_LinkOperands,
      (ins Variadic<Index>:$origin, AnyShaped:$acc, AnyShaped:$max,
           AnyShaped:$sum, MegaCtx_PieceAttr:$piece),
      MegaCtx_LinkAttrs);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = MegaCtx_LinkFormat # [{
    (`origin` `(` $origin^ `)`)?
    `outs` `(` $acc `,` $max `,` $sum `)` $piece attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
    ::llvm::SmallVector<::mlir::megactx::pattern::Piece> getPieceList() {
      return {getPiece().getPiece()};
    }

    /// Emits the key rows [first, second) that the query rows [rowBegin, rowEnd)
    /// of one batch and head can see, all index values counted in this op's own
    /// operands: the piece's bounds, which ascend with the row, in closed form.
    /// Other keys have no weight; some of these may have none.
    std::pair<::mlir::Value, ::mlir::Value> emitKeyRange(
        ::mlir::OpBuilder &b, ::mlir::Location loc, ::mlir::Value batch,
        ::mlir::Value head, ::mlir::Value rowBegin, ::mlir::Value rowEnd);
  }];
}

def MegaCtx_FinishAttentionOp : Op<MegaCtx_Dialect, "finish_attention",
    [DestinationStyleOpInterface,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
     DeclareOpInterfaceMethods<AggregatedOpInterface, ["decomposeOperation"]>]> {
  let summary = "the result of a softmax in progress";
  let description = [{
    Ends a chain of `megactx.online_attention`: out = acc / sum [B, Hq, Nq, Dv],
    f32, f16 or bf16, and lse = max + log(sum) [B, Hq, Nq], f32, natural log. A row
    that saw no key (sum = 0) gives 0 and minus infinity.

    Constraints:
    * `finish_attention_c1`: acc and out have rank 4; max, sum and lse rank 3; all
      agree on the dims that they share.
    * `finish_attention_c2`: acc, max, sum and lse have element type f32; out f32,
      f16 or bf16.

    ```mlir
    %r:2 = megactx.finish_attention %acc, %max, %sum outs(%out, %lse)
        : (tensor<1x8x?x64xf32>, tensor<1x8x?xf32>, tensor<1x8x?xf32>,
           tensor<1x8x?x64xbf16>, tensor<1x8x?xf32>)
        -> (tensor<1x8x?x64xbf16>, tensor<1x8x?xf32>)
    ```

    Effects: none on tensors; on memrefs it reads the state and writes `out` and
    `lse`.
  }];
  let arguments = (ins AnyShaped:$acc, AnyShaped:$max, AnyShaped:$sum,
                       AnyShaped:$out, AnyShaped:$lse);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $acc `,` $max `,` $sum `outs` `(` $out `,` $lse `)` attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
  }];
}

def MegaCtx_FusedAttentionOp : Op<MegaCtx_Dialect, "fused_attention",
    [AttrSizedOperandSegments, DestinationStyleOpInterface,
     AttentionLinkInterface,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "one kernel's worth of attention: pieces with one query view";
  let description = [{
    Attends one source through pieces whose rows are seen alike, into `out`
    [B, Hq, Nq, Dv] (normalised) and `lse` [B, Hq, Nq] (f32, natural log). With
    `accumulate` the destinations hold the partial result of other keys, which
    is merged by log-sum-exp; without it they are overwritten, rows that the
    pieces do not cover included. On tensors or on memrefs. Rows stand at steps and
    offsets, or at positions, as in `megactx.online_attention`.

    Constraints:
    * `fused_attention_c1`: at least one piece.
    * `fused_attention_c2`: query, key, value and out have rank 4 and one element
      type, lse rank 3 and f32; out is [B, Hq, Nq, Dv], lse is [B, Hq, Nq], and
      query and key agree on D.
    * `fused_attention_c3`: two results on tensors, none on memrefs.
    * `fused_attention_c4`: query_offset, query_positions and key_positions as in
      `megactx.online_attention`.
  }];
  let arguments = !con(MegaCtx_LinkOperands,
      (ins AnyShaped:$out, AnyShaped:$lse, MegaCtx_PiecesAttr:$pieces),
      MegaCtx_LinkAttrs, (ins UnitAttr:$accumulate));
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = MegaCtx_LinkFormat # [{
    `outs` `(` $out `,` $lse `)`
    $pieces attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
    ::llvm::SmallVector<::mlir::megactx::pattern::Piece> getPieceList() {
      return ::mlir::megactx::pieceList(getPieces());
    }
  }];
}

//===----------------------------------------------------------------------===//
// Ops around attention
//===----------------------------------------------------------------------===//

/// An op on tensors, with results as values and inferred, that says itself what
/// it is in linalg and scf.
class MegaCtx_TensorOp<string mnemonic, list<Trait> traits = []>
    : Op<MegaCtx_Dialect, mnemonic, traits # [
        InferTypeOpAdaptor,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                                  ["reifyResultShapes"]>,
        DeclareOpInterfaceMethods<AggregatedOpInterface, ["decomposeOperation"]>
      ]> {
  let hasVerifier = 1;
}

defvar MegaCtx_Storage = [F32, F16, BF16];
defvar MegaCtx_Integer = [Index, I64, I32];

include "megactx/Dialect/MegaCtx/IR/MegaCtxBackwardOps.td"
include "megactx/Dialect/MegaCtx/IR/MegaCtxLodOps.td"
include "megactx/Dialect/MegaCtx/IR/MegaCtxProductOps.td"
include "megactx/Dialect/MegaCtx/IR/MegaCtxRouteOps.td"
include "megactx/Dialect/MegaCtx/IR/MegaCtxRowsOps.td"
include "megactx/Dialect/MegaCtx/IR/MegaCtxOrderOps.td"
include "megactx/Dialect/MegaCtx/IR/MegaCtxViewOps.td"

#endif // MEGACTX_DIALECT_MEGACTX_OPS
