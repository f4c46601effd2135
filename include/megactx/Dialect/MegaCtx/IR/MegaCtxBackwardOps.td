//===- MegaCtxBackwardOps.td - gradients of attention ----------*- tablegen -*-===//
//
// Owns the gradients of attention at each of its levels: over sources with
// patterns, one piece at a time, and one kernel's worth. Scores are computed
// again from queries and keys; of the softmax its log-sum-exp is enough.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_BACKWARDOPS
#define MEGACTX_DIALECT_MEGACTX_BACKWARDOPS

def MegaCtx_AttentionBackwardOp : Op<MegaCtx_Dialect, "attention_backward",
    [Pure, AttrSizedOperandSegments]> {
  let summary = "gradients of megactx.attention";
  let description = [{
    From what `megactx.attention` took and gave, and the gradients dout [B, Hq,
    Nq, Dv] of `out` and dlse [B, Hq, Nq] (f32; absent: zero) of `lse`, those of
    its operands: dq, then dk and dv of each source and, with `bias_gradients`,
    those of all sources' biases, in order. With

    ```
    x  = scale * <q, k>, s = softcap(x) + biases
    p  = exp(s - lse) where the pattern holds, else 0
    dp = <dout, v>
    ds = p * (dp - <dout, out> + dlse)
    dx = ds * softcap'(x)
    ```

    dq = scale * sum over k of dx * k, dk = scale * sum over q of dx * q,
    dv = sum over q of p * dout, each key head's summed over the query heads that
    read it; a bias's is ds, summed over the dims in which it is 1. Rows that see
    no key have gradients of zero. Sums are in f32 and in an order that is the
    same in each run, but for those of biases on GPUs, which are added atomically.

    Constraints:
    * `attention_backward_c1`: at least one source; query, out and dout have rank 4
      and the sources' element type, lse and dlse rank 3 and f32; all agree on the
      dims that they share.
    * `attention_backward_c2`: a result for each gradient, of rank 4, with the
      element type and static dims of what it is the gradient of.
    * `attention_backward_c3`: scale, softcap, query_step, offset and positions as
      in `megactx.attention`.

    ```mlir
    %dq, %dk, %dv = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout)
        {scale = 0.125 : f32}
        : (tensor<1x8x?x64xf32>, !source, tensor<1x8x?x64xf32>, tensor<1x8x?xf32>,
           tensor<1x8x?x64xf32>)
        -> (tensor<1x8x?x64xf32>, tensor<1x8x?x64xf32>, tensor<1x8x?x64xf32>)
    ```

    Source: FlashAttention-2 (arXiv:2307.08691).
  }];
  let arguments = (ins AnyRankedTensor:$query,
                       Variadic<MegaCtx_SourceType>:$sources,
                       AnyRankedTensor:$out, AnyRankedTensor:$lse,
                       AnyRankedTensor:$dout, Optional<AnyRankedTensor>:$dlse,
                       Optional<AnyTypeOf<[Index, 1DTensorOf<[Index]>]>>:$offset,
                       Optional<2DTensorOf<[Index]>>:$positions,
                       F32Attr:$scale,
                       OptionalAttr<F32Attr>:$softcap,
                       DefaultValuedAttr<I64Attr, "1">:$query_step,
                       UnitAttr:$bias_gradients);
  let results = (outs Variadic<AnyRankedTensor>:$gradients);
  let assemblyFormat = [{
    $query `,` $sources `out` `(` $out `)` `lse` `(` $lse `)`
    `dout` `(` $dout `)` (`dlse` `(` $dlse^ `)`)? (`offset` `(` $offset^ `)`)?
    (`positions` `(` $positions^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def MegaCtx_OnlineAttentionBackwardOp
    : Op<MegaCtx_Dialect, "online_attention_backward",
    [AttrSizedOperandSegments, DestinationStyleOpInterface,
     AttentionLinkInterface,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
     DeclareOpInterfaceMethods<AggregatedOpInterface, ["decomposeOperation"]>]> {
  let summary = "a link of attention's gradients: one piece of one source";
  let description = [{
    Adds to the gradients of queries, keys, values and biases what the keys that
    the piece selects give, as `megactx.attention_backward` defines it. Operands
    up to the positions are those of `megactx.online_attention`; further

    - lse [B, Hq, Nq]: log-sum-exp of all keys of a row; plus infinity where there
      is none, so that all weights are 0.
    - delta [B, Hq, Nq]: <dout, out> - dlse.
    - dout [B, Hq, Nq, Dv], of the queries' element type.
    - dq [B, Hq, Nq, D], dk [B, Hkv, Nk, D], dv [B, Hkv, Nk, Dv], and none or one
      for each bias, of its shape: f32, the sums so far.

    Constraints:
    * `online_attention_backward_c1`: c1, c3, c4, c6 to c8 and c10 to c12 of
      `megactx.online_attention`; query, key, value and dout have one element type
      out of f32, f16 and bf16.
    * `online_attention_backward_c2`: lse, delta and all sums have element type
      f32, and shapes as above.

    Effects: none on tensors; on memrefs it reads its operands and updates the
    sums.
  }];
  let arguments = !con(MegaCtx_LinkOperands,
      (ins AnyShaped:$lse, AnyShaped:$delta, AnyShaped:$dout,
           AnyShaped:$dq, AnyShaped:$dk, AnyShaped:$dv,
           Variadic<AnyShaped>:$dbiases, MegaCtx_PieceAttr:$piece),
      MegaCtx_LinkAttrs);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = MegaCtx_LinkFormat # [{
    `lse` `(` $lse `)` `delta` `(` $delta `)` `dout` `(` $dout `)`
    `outs` `(` $dq `,` $dk `,` $dv (`bias` `(` $dbiases^ `)`)? `)` $piece attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
    ::llvm::SmallVector<::mlir::megactx::pattern::Piece> getPieceList() {
      return {getPiece().getPiece()};
    }
  }];
}

/// One kernel's worth of gradients, summed into destinations of f32.
class MegaCtx_FusedGradientOp<string mnemonic, dag sums, string format>
    : Op<MegaCtx_Dialect, mnemonic,
    [AttrSizedOperandSegments, DestinationStyleOpInterface,
     AttentionLinkInterface,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let arguments = !con(MegaCtx_LinkOperands,
      (ins AnyShaped:$lse, AnyShaped:$delta, AnyShaped:$dout), sums,
      (ins MegaCtx_PiecesAttr:$pieces), MegaCtx_LinkAttrs);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = MegaCtx_LinkFormat # [{
    `lse` `(` $lse `)` `delta` `(` $delta `)` `dout` `(` $dout `)`
  }] # format # [{
    $pieces attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return ::mlir::MutableOperandRange(
          getOperation(), getLinkOperands().size() + 3,
          getOwnOperands().size() - 3);
    }
    ::llvm::SmallVector<::mlir::megactx::pattern::Piece> getPieceList() {
      return ::mlir::megactx::pieceList(getPieces());
    }
  }];
}

def MegaCtx_FusedQueryGradientOp : MegaCtx_FusedGradientOp<
    "fused_query_gradient", (ins AnyShaped:$dq), "`outs` `(` $dq `)`"> {
  let summary = "one kernel's worth of the gradient of queries";
  let description = [{
    Adds to dq [B, Hq, Nq, D] (f32) what the keys of pieces give whose query rows
    are seen alike. Operands as in `megactx.online_attention_backward`.

    Constraints:
    * `fused_query_gradient_c1`: at least one piece; those of
      `megactx.online_attention_backward`.
  }];
}

def MegaCtx_FusedKeyGradientOp : MegaCtx_FusedGradientOp<
    "fused_key_gradient", (ins AnyShaped:$dk, AnyShaped:$dv),
    "`outs` `(` $dk `,` $dv `)`"> {
  let summary = "one kernel's worth of the gradients of keys and values";
  let description = [{
    Adds to dk [B, Hkv, Nk, D] and dv [B, Hkv, Nk, Dv] (f32) what the queries give
    that see them through pieces whose key rows are seen alike. Operands as in
    `megactx.online_attention_backward`.

    Constraints:
    * `fused_key_gradient_c1`: at least one piece; those of
      `megactx.online_attention_backward`.
  }];
}

def MegaCtx_FusedBiasGradientOp : MegaCtx_FusedGradientOp<
    "fused_bias_gradient", (ins AnyShaped:$dbias), "`outs` `(` $dbias `)`"> {
  let summary = "one kernel's worth of the gradient of a bias";
  let description = [{
    Adds the gradients of scores to dbias (f32), of P parts whose sum is the
    gradient: [P, B, Hq, Nq, Nk], summed over those of the last four dims that are
    1; or by distance, [P, B, Hq, Nq + Nk - 1], summed over the pairs of query i
    and key j with the entry j - i + Nq - 1, and over B and Hq where they are 1.
    On CPUs parts are made at the same time, and which part has which queries is
    fixed, so that sums are the same in each run; all of a query's are in the first
    where queries have entries of their own. GPUs add to the first one, atomically.
    Operands as in
    `megactx.online_attention_backward`.

    Constraints:
    * `fused_bias_gradient_c1`: at least one piece; those of
      `megactx.online_attention_backward`.
    * `fused_bias_gradient_c2`: dbias has at least one part, rank 5 or 4, element
      type f32, and dims as above.
  }];
}

def MegaCtx_DiagonalSumsOp : Op<MegaCtx_Dialect, "diagonal_sums",
    [Pure, DeclareOpInterfaceMethods<AggregatedOpInterface, ["decomposeOperation"]>]> {
  let summary = "sums along the diagonals of matrices";
  let description = [{
    From each matrix [..., rows, columns] of two leading dims, the vector
    [..., rows + columns - 1] of the sums of the elements for which column minus
    row is the same:

    ```
    result[..., t] = sum over i of matrix[..., i, t + i - (rows - 1)]
    ```

    It is the adjoint of `megactx.toeplitz_view`: the gradient of a table is that
    of the matrix it was spread into, summed. A matrix that is empty has sums of
    0, none where rows and columns are 0.

    Constraints:
    * `diagonal_sums_c1`: the matrix has rank 4 and element type f32, the result rank
      3, its element type and leading dims, and as many elements as there are
      diagonals.

    ```mlir
    %table = megactx.diagonal_sums %gradient : tensor<1x8x?x?xf32> to tensor<1x8x?xf32>
    ```

    Effects: none.
  }];
  let arguments = (ins 4DTensorOf<[F32]>:$matrix);
  let results = (outs 3DTensorOf<[F32]>:$result);
  let assemblyFormat = "$matrix attr-dict `:` type($matrix) `to` type($result)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The result's sizes.
    ::llvm::SmallVector<::mlir::OpFoldResult> sizes(::mlir::OpBuilder &b);
  }];
}

#endif // MEGACTX_DIALECT_MEGACTX_BACKWARDOPS
