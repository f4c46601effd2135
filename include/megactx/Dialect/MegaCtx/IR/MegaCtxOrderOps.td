//===- MegaCtxOrderOps.td - elements in order ------------------*- tablegen -*-===//
//
// Owns the op that finds the first elements of rows in an order, where a library
// does that better than loops.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_ORDER_OPS
#define MEGACTX_DIALECT_MEGACTX_ORDER_OPS

def MegaCtx_TopKOp : Op<MegaCtx_Dialect, "top_k",
    [DestinationStyleOpInterface,
     DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "the largest or smallest elements along an axis";
  let description = [{
    data [..., N, ...] -> values and indices [..., K, ...]: of each row along
    `axis` the K largest elements, or smallest, best first, and where they stand in
    it. Of equal elements the earlier one is better; a NaN is worse than every
    number. K is at most N. Destinations are overwritten, and read by nothing.

    On tensors or on memrefs, of which the destinations overlap no other.
    `megactx-convert-top-k-to-runtime` hands it to the runtime.

    Constraints:
    * `top_k_c1`: data and values are of one element type, f16, bf16, f32, f64 or
      an integer of 8, 16, 32 or 64 bits; indices are of i64.
    * `top_k_c2`: all have one rank of at least 1, axis is one of theirs, and sizes
      agree but along it, where values and indices have at most as many elements as
      data.
    * `top_k_c3`: a result for each destination on tensors, none on memrefs.

    ```mlir
    %v, %i = megactx.top_k largest %x along 1 outs(%v0, %i0)
        : (tensor<?x50257xf32>, tensor<?x50xf32>, tensor<?x50xi64>)
          -> (tensor<?x50xf32>, tensor<?x50xi64>)
    ```

    Effects: none on tensors; memrefs are read, and destinations are written.

    Source: ONNX, `TopK` of opset 11.
  }];
  let arguments = (ins AnyShaped:$data, AnyShaped:$values, AnyShaped:$indices,
                       I64Attr:$axis, UnitAttr:$largest);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    (`largest` $largest^)? $data `along` $axis `outs` `(` $values `,` $indices `)`
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
  }];
}

#endif // MEGACTX_DIALECT_MEGACTX_ORDER_OPS
