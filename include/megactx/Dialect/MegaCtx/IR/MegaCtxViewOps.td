//===- MegaCtxViewOps.td - memory seen otherwise ---------------*- tablegen -*-===//
//
// Owns the ops whose result is their operand's memory in another shape or order.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_VIEWOPS
#define MEGACTX_DIALECT_MEGACTX_VIEWOPS

def MegaCtx_TransposeViewOp : Op<MegaCtx_Dialect, "transpose_view",
    [Pure, DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                                     ["reifyResultShapes"]>]> {
  let summary = "a transpose that moves nothing";
  let description = [{
    The tensor with its dims in another order: dim i of the result is dim
    `permutation[i]` of the input, as in `linalg.transpose`. In memory both are
    the same elements: bufferization makes it `memref.transpose`, so that whoever
    takes the result reads, or as a destination writes, rows with strides.

    Constraints:
    * `transpose_view_c1`: `permutation` holds each dim of the input once.
    * `transpose_view_c2`: the result has the input's element type and its dims in
      that order.

    ```mlir
    %heads = megactx.transpose_view %rows permutation = [0, 2, 1, 3]
        : tensor<?x?x8x64xf32> to tensor<?x8x?x64xf32>
    ```

    Effects: none.
  }];
  let arguments = (ins AnyRankedTensor:$input,
                       DenseI64ArrayAttr:$permutation);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `permutation` `=` $permutation attr-dict
    `:` type($input) `to` type($result)
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$input,
                                 "::llvm::ArrayRef<int64_t>":$permutation)>];
  let hasVerifier = 1;
  let hasFolder = 1;
}

def MegaCtx_ToeplitzViewOp : Op<MegaCtx_Dialect, "toeplitz_view",
    [Pure, DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                                     ["reifyResultShapes"]>]> {
  let summary = "a matrix whose elements depend on column minus row alone";
  let description = [{
    From a vector for each of the leading dims, the matrix that has one element
    of it along each diagonal: the table [..., rows + columns - 1] becomes
    [..., rows, columns] with

    ```
    result[..., i, j] = table[..., j - i + rows - 1]
    ```

    In memory both are the same elements: bufferization makes it a view whose
    rows overlap, with strides of -1 and 1 elements. A bias by the distance
    between query and key takes so many elements as there are distances.

    Constraints:
    * `toeplitz_view_c1`: the result has the table's element type, its leading
      dims, and one dim more.
    * `toeplitz_view_c2`: rows and columns agree with static dims of the result, and
      the table has at least rows + columns - 1 elements.

    ```mlir
    %bias = megactx.toeplitz_view %table sizes(%rows, %columns)
        : tensor<1x8x1023xf32> to tensor<1x8x?x?xf32>
    ```

    Effects: none. What a table that turns out to have fewer gives is undefined.
  }];
  let arguments = (ins AnyRankedTensor:$table, Index:$rows, Index:$columns);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $table `sizes` `(` $rows `,` $columns `)` attr-dict
    `:` type($table) `to` type($result)
  }];
  let hasVerifier = 1;
}

#endif // MEGACTX_DIALECT_MEGACTX_VIEWOPS
