//===- MegaCtxProductOps.td - products with epilogues ----------*- tablegen -*-===//
//
// Owns the op for a matrix product with what is done to its result before that
// is stored: libraries of products offer it, and it saves reading and writing the
// result again; the one for the terms of sums that machines multiply in pairs; and
// the product of such rows and packed weights. A product alone is linalg's.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_PRODUCT_OPS
#define MEGACTX_DIALECT_MEGACTX_PRODUCT_OPS

include "mlir/IR/EnumAttr.td"

def MegaCtx_ActivationAttr : I32EnumAttr<"Activation",
    "what maps the elements of a product", [
    I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Relu", 1, "relu">,
    I32EnumAttrCase<"GeluTanh", 2, "gelu_tanh">]> {
  let cppNamespace = "::mlir::megactx";
}

def MegaCtx_ProductOp : Op<MegaCtx_Dialect, "product",
    [AttrSizedOperandSegments, DestinationStyleOpInterface,
     DeclareOpInterfaceMethods<AggregatedOpInterface, ["decomposeOperation"]>,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "a batched matrix product with bias, residual and activation";
  let description = [{
    out[b, m, n] = activation(sum over k of lhs[b, m, k] rhs[b, k, n] + bias[n] +
    residual[b, m, n]), rounded to the element type once where a library computes
    it; `out` is overwritten, and read by nothing. Without bias or residual there is
    none. Activations x ->

    - `none`: x;
    - `relu`: max(x, 0); what a NaN becomes, NaN or 0, is the target's;
    - `gelu_tanh`: x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).

    On tensors or on memrefs, of which the destination overlaps no other. It
    decomposes to linalg on either, where sums, as those of linalg, are rounded to
    the element type.

    Constraints:
    * `product_c1`: lhs is [B, M, K], rhs [B, K, N], out [B, M, N] and residual as
      out; bias is [N].
    * `product_c2`: one element type, f32, f16 or bf16.
    * `product_c3`: K is static and not 0: a product without terms is none.
    * `product_c4`: one result of out's type on tensors, none on memrefs.

    ```mlir
    %y = megactx.product %x, %w bias(%b) residual(%r) outs(%e)
        : (tensor<1x?x512xbf16>, tensor<1x512x512xbf16>, tensor<512xbf16>,
           tensor<1x?x512xbf16>, tensor<1x?x512xbf16>) -> tensor<1x?x512xbf16>
    ```

    Effects: none on tensors; memrefs are read, and out is written.
  }];
  let arguments = (ins AnyShaped:$lhs, AnyShaped:$rhs,
                       Optional<AnyShaped>:$bias, Optional<AnyShaped>:$residual,
                       AnyShaped:$out,
                       DefaultValuedAttr<MegaCtx_ActivationAttr,
                           "::mlir::megactx::Activation::None">:$activation);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $lhs `,` $rhs (`bias` `(` $bias^ `)`)? (`residual` `(` $residual^ `)`)?
    (`activation` `(` $activation^ `)`)? `outs` `(` $out `)`
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();

    /// Whether linalg's op is a product as this one's, without an epilogue: of
    /// these shapes and element types, onto what its init holds.
    static bool isProduct(::mlir::linalg::GenericOp op);

    /// The same of bytes: lhs of uint8 and rhs of int8, summed as int32.
    static bool isIntegerProduct(::mlir::linalg::GenericOp op);
  }];
}

def MegaCtx_Words : TypeOrValueSemanticsContainer<I32, "i32">;

def MegaCtx_DotPairsOp : Op<MegaCtx_Dialect, "dot_pairs",
    [Pure, SameOperandsAndResultType] # ElementwiseMappable.traits> {
  let summary = "adds the products of two pairs of numbers of 16 bits";
  let description = [{
    sum + low(lhs) low(rhs) + high(lhs) high(rhs), modulo 2^32: each of lhs and rhs
    has two integers with a sign, in its lower and its upper 16 bits. x86 has an
    instruction for vectors of it (vpdpwssd, or vpmaddwd and an addition).
    `megactx-expand-dot-pairs` says it in ops of arith and vector.

    ```mlir
    %next = megactx.dot_pairs %numbers, %x, %sum : vector<16xi32>
    ```

    Effects: none.
  }];
  let arguments = (ins MegaCtx_Words:$lhs, MegaCtx_Words:$rhs,
                       MegaCtx_Words:$sum);
  let results = (outs MegaCtx_Words:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `,` $sum attr-dict `:` type($result)
  }];
}

def MegaCtx_PackedProductOp : Op<MegaCtx_Dialect, "packed_product",
    [DestinationStyleOpInterface,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "a product of rows in pairs of 16 bits and weights in words";
  let description = [{
    out[m, n] = sum over chains c of rowScales[m, c] scales[n, b] (dot(m, n, c) -
    zero[n, b] rowSums[m, c]), where chain c is of block b = c B / C and dot(m, n, c)
    adds what the weights' numbers in the words of the chain have times those of the
    row. A word has 32 / bits numbers, the lowest bits first; pair p of a word's row
    meets number p, by its lower 16 bits, and number p + P, by its upper ones, both
    with a sign. `zeros` are the zero points, bytes without a sign; without, they are
    2^(bits - 1). `out` is overwritten, and read by nothing.

    On tensors or on memrefs, of which the destination overlaps no other.
    `megactx-convert-linalg-to-tasks` has its loops.

    Constraints:
    * `packed_product_c1`: rows is i32 [M, W, P], rowScales f32 [M, C], rowSums i32
      [M, C], words i32 [N, W], scales [N, B] of f32, f16 or bf16, zeros f32
      or i8 [N, B], out f32 [M, N]; all but M is static and not 0.
    * `packed_product_c2`: bits is 4 or 8, and P is 16 / bits.
    * `packed_product_c3`: W is a multiple of C, and C of B.
    * `packed_product_c4`: numbers of a chain are at most 2^(16 - bits), so that no
      sum is beyond 32 bits.
    * `packed_product_c5`: one result of out's type on tensors, none on memrefs.

    ```mlir
    %y = megactx.packed_product %x, %xs, %xt by %w, %s bits(4) outs(%e)
        : (tensor<?x16x4xi32>, tensor<?x4xf32>, tensor<?x4xi32>, tensor<24x16xi32>,
           tensor<24x4xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
    ```

    Effects: none on tensors; memrefs are read, and out is written.
  }];
  let arguments = (ins AnyShaped:$rows, AnyShaped:$rowScales,
                       AnyShaped:$rowSums, AnyShaped:$words, AnyShaped:$scales,
                       Optional<AnyShaped>:$zeros, AnyShaped:$out,
                       I64Attr:$bits);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $rows `,` $rowScales `,` $rowSums `by` $words `,` $scales
    (`zeros` `(` $zeros^ `)`)? `bits` `(` $bits `)` `outs` `(` $out `)`
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
  }];
}

def MegaCtx_ConvolutionOp : Op<MegaCtx_Dialect, "convolution",
    [DestinationStyleOpInterface,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "a convolution of data whose channels are last";
  let description = [{
    out[n, o..., g F + f] = sum over c, k... of data[n, o s + k d - p..., g C + c]
    kernel[g F + f, c, k...], with G groups of C channels and F filters each, and a
    stride s, a dilation d and a pad p for each spatial axis. What lies outside of
    the data is 0. `out` is overwritten, and read by nothing.

    On tensors or on memrefs, of which the destination overlaps no other.
    `megactx-convert-convolution-to-runtime` hands it to the runtime.

    Constraints:
    * `convolution_c1`: data is f32 [N, axes..., G C], kernel f32 [G F, C, axes...],
      out f32 [N, axes..., G F], with 1 to 3 spatial axes; kernel is static.
    * `convolution_c2`: strides, dilations and pads have a number for each spatial
      axis, the first two of at least 1, the last of at least 0.
    * `convolution_c3`: groups is at least 1 and divides G F.
    * `convolution_c4`: one result of out's type on tensors, none on memrefs.

    ```mlir
    %y = megactx.convolution %x by %w groups(1) strides[2, 2] dilations[1, 1]
        pads[1, 1] outs(%e)
        : (tensor<1x?x?x3xf32>, tensor<16x3x3x3xf32>, tensor<1x?x?x16xf32>)
          -> tensor<1x?x?x16xf32>
    ```

    Effects: none on tensors; memrefs are read, and out is written.
  }];
  let arguments = (ins AnyShaped:$data, AnyShaped:$kernel, AnyShaped:$out,
                       I64Attr:$groups, DenseI64ArrayAttr:$strides,
                       DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $data `by` $kernel `groups` `(` $groups `)` `strides` $strides
    `dilations` $dilations `pads` $pads `outs` `(` $out `)`
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
  }];
}

#endif // MEGACTX_DIALECT_MEGACTX_PRODUCT_OPS
