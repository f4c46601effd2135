//===- MegaCtxOps.td - attention with sparse patterns ----------*- tablegen -*-===//
//
// Owns the `megactx` dialect: patterns and pieces as attributes, attention over
// several sources, and the fused form that targets emit kernels for. Knows no
// ONNX and no target.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_OPS
#define MEGACTX_DIALECT_MEGACTX_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def MegaCtx_Dialect : Dialect {
  let name = "megactx";
  let cppNamespace = "::mlir::megactx";
  let summary = "sparse attention patterns and level-of-detail gists";
  let useDefaultTypePrinterParser = 1;
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
    j * key_step + offset (tokens).

    - `bias` is added to the scaled scores; f32, rank 4, each dim 1 or that of
      [B, Hq, Nq, Nk].
    - `lengths` (index tensor [B]): keys from this row on do not exist.

    Constraints:
    * `source_c1`: key and value have rank 4, the same element type (f32, f16,
      bf16) and agree on B, Hkv and Nk.
    * `source_c2`: key_step is at least 1.

    ```mlir
    %s = megactx.source %k, %v offset(%o) pattern(#megactx.pattern<causal>)
        : (tensor<1x8x?x64xf32>, tensor<1x8x?x64xf32>, index)
        -> !megactx.source<tensor<1x8x?x64xf32>, tensor<1x8x?x64xf32>>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$key, AnyRankedTensor:$value,
                       Optional<AnyRankedTensor>:$bias,
                       Optional<1DTensorOf<[Index]>>:$lengths,
                       Optional<Index>:$offset,
                       MegaCtx_PatternAttr:$pattern,
                       DefaultValuedAttr<I64Attr, "1">:$key_step);
  let results = (outs MegaCtx_SourceType:$result);
  let assemblyFormat = [{
    $key `,` $value (`bias` `(` $bias^ `)`)? (`lengths` `(` $lengths^ `)`)?
    (`offset` `(` $offset^ `)`)? `pattern` `(` $pattern `)` attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def MegaCtx_AttentionOp : Op<MegaCtx_Dialect, "attention",
    [Pure, AttrSizedOperandSegments]> {
  let summary = "softmax(scale * q k^T) v over all sources, one softmax";
  let description = [{
    score = softcap(scale * <q, k>) + bias, one softmax over the keys that the
    sources' patterns select, out = sum of p * v. q [B, Hq, Nq, D], out
    [B, Hq, Nq, Dv] of q's element type, lse [B, Hq, Nq] f32, natural log.
    Query head h reads key head h / (Hq / Hkv). Query row i stands at position
    i * query_step + offset (tokens). A row that sees no key gives 0 and lse
    minus infinity. softcap(x) = softcap * tanh(x / softcap).

    Constraints:
    * `attention_c1`: at least one source; q has rank 4 and the sources' element
      type.
    * `attention_c2`: q and every source agree on B and D, where static, and Hq
      is a multiple of Hkv.
    * `attention_c3`: out is [B, Hq, Nq, Dv], lse is [B, Hq, Nq] of f32.
    * `attention_c4`: scale is finite; softcap, if given, is positive.

    ```mlir
    %out = megactx.attention %q, %s offset(%p) {scale = 0.125 : f32}
        : (tensor<1x8x?x64xf32>, !source, index) -> tensor<1x8x?x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$query,
                       Variadic<MegaCtx_SourceType>:$sources,
                       Optional<Index>:$offset,
                       F32Attr:$scale,
                       OptionalAttr<F32Attr>:$softcap,
                       DefaultValuedAttr<I64Attr, "1">:$query_step,
                       DefaultValuedAttr<MegaCtx_KindAttr, "\"self\"">:$kind);
  let results = (outs AnyRankedTensor:$out, Optional<AnyRankedTensor>:$lse);
  let assemblyFormat = [{
    $query `,` $sources (`offset` `(` $offset^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def MegaCtx_FusedAttentionOp : Op<MegaCtx_Dialect, "fused_attention",
    [AttrSizedOperandSegments, DestinationStyleOpInterface,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "one kernel's worth of attention: pieces with one query view";
  let description = [{
    Attends one source through pieces whose rows are seen alike, into `out`
    [B, Hq, Nq, Dv] (normalised) and `lse` [B, Hq, Nq] (f32, natural log). With
    `accumulate` the destinations hold the partial result of other keys, which
    is merged by log-sum-exp; without it they are overwritten, rows that the
    pieces do not cover included. On tensors or on memrefs.

    Constraints:
    * `fused_attention_c1`: at least one piece; `out` and `lse` fit q and value.
  }];
  let arguments = (ins AnyShaped:$query, AnyShaped:$key, AnyShaped:$value,
                       Optional<AnyShaped>:$bias, Optional<AnyShaped>:$lengths,
                       Optional<Index>:$query_offset,
                       Optional<Index>:$key_offset,
                       AnyShaped:$out, AnyShaped:$lse,
                       ArrayAttr:$pieces,
                       F32Attr:$scale,
                       OptionalAttr<F32Attr>:$softcap,
                       DefaultValuedAttr<I64Attr, "1">:$query_step,
                       DefaultValuedAttr<I64Attr, "1">:$key_step,
                       UnitAttr:$accumulate);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`bias` `(` $bias^ `)`)?
    (`lengths` `(` $lengths^ `)`)? (`query_offset` `(` $query_offset^ `)`)?
    (`key_offset` `(` $key_offset^ `)`)? `outs` `(` $out `,` $lse `)`
    $pieces attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
    ::llvm::SmallVector<::mlir::megactx::pattern::Piece> getPieceList();
  }];
}

#endif // MEGACTX_DIALECT_MEGACTX_OPS
