//===- MegaCtxRouteOps.td - attention within clusters of rows --*- tablegen -*-===//
//
// Owns the ops of content-based sparse attention: which rows belong to a
// cluster, the rows of clusters side by side, and the way back. Between them
// stands an attention whose batch is the clusters:
//
//   %m, %n = megactx.route %x, %centroids {window = 64 : i64}
//   %x1 = megactx.gather_rows %x at %m
//   %v1 = megactx.gather_rows %v at %m
//   %s = megactx.source %x1, %v1 lengths(%n) positions(%m) pattern(...)
//   %y = megactx.attention %x1, %s positions(%m)
//   %o = megactx.scatter_mean %y at %m outs(%zeros)
//
// Terms. A *cluster* is one of a batch row and head; of B batch rows, H heads
// and C clusters each, cluster c of (b, h) has number (b H + h) C + c. Its
// *members* are row numbers [B H C, M] in ascending order, -1 behind the last.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_ROUTE_OPS
#define MEGACTX_DIALECT_MEGACTX_ROUTE_OPS

def MegaCtx_RouteOp : MegaCtx_TensorOp<"route", [Pure]> {
  let summary = "the rows that are nearest to each centroid";
  let description = [{
    rows x [B, H, N, D], centroids mu [H, C, D] -> members [B H C, M] and counts
    [B H C] (index), M = min(`window`, N). A cluster has the min(M, length) rows
    of its batch row and head with the greatest score <x_n, mu_c>, accumulated in
    f32, in ascending order of n; members behind them are -1, and counts say how
    many there are. Of rows with equal scores the earlier ones are taken; a NaN
    is less than every number. Clusters are balanced, all of one size, so that a
    row may be in several of them or in none. `lengths` [B] (clamped to 0..N; N
    without it) says how many rows there are.

    The paper routes rows after a layer norm without scale and bias, which makes
    them equally long, so that the greatest product is the least distance; the
    norm is left to the program. Members ascend, so that they serve as positions
    of queries and keys, and `causal` means what it means without clusters. The
    paper has one routing for queries and keys where attention is causal, which
    are then equal, and one for each of them elsewhere.

    Constraints:
    * `route_c1`: rows have rank 4, centroids rank 3, both one element type out of
      f32, f16 and bf16.
    * `route_c2`: rows and centroids agree on H and D; lengths is [B] of index.
    * `route_c3`: window is at least 1.
    * `route_c4`: members are [B H C, min(window, N)], counts [B H C], of index.

    ```mlir
    %m, %n = megactx.route %x, %c {window = 64 : i64}
        : (tensor<2x4x?x64xf32>, tensor<4x16x64xf32>)
        -> (tensor<128x?xindex>, tensor<128xindex>)
    ```

    Effects: none.

    Source: Routing Transformer (arXiv:2003.05997), algorithm 1.
  }];
  let arguments = (ins 4DTensorOf<MegaCtx_Storage>:$rows,
                       3DTensorOf<MegaCtx_Storage>:$centroids,
                       Optional<1DTensorOf<[Index]>>:$lengths,
                       ConfinedAttr<I64Attr, [IntPositive]>:$window);
  let results = (outs 2DTensorOf<[Index]>:$members,
                      1DTensorOf<[Index]>:$counts);
  let assemblyFormat = [{
    $rows `,` $centroids (`lengths` `(` $lengths^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
}

def MegaCtx_GatherRowsOp : MegaCtx_TensorOp<"gather_rows", [NoMemoryEffect]> {
  let summary = "the rows of clusters side by side, a batch row for each cluster";
  let description = [{
    rows x [B, H, N, D] and members [R, M] (index), R = B H C -> [R, 1, M, D] of
    the rows' element type: row (r, m) is row members[r, m] of batch row and head
    floor(r / C), and 0 where the member is -1.

    Run-time errors: R that is no multiple of B H, and members that are neither -1
    nor less than N, end the run.

    Constraints:
    * `gather_rows_c1`: rows have rank 4; f32, f16 or bf16. Members have rank 2
      and are of index.
    * `gather_rows_c2`: R is a multiple of B H.
    * `gather_rows_c3`: the result is [R, 1, M, D] of the rows' element type.

    ```mlir
    %y = megactx.gather_rows %x at %m
        : (tensor<2x4x?x64xf32>, tensor<128x?xindex>) -> tensor<128x1x?x64xf32>
    ```

    Effects: none; not speculated, as it may end the run.
  }];
  let arguments = (ins 4DTensorOf<MegaCtx_Storage>:$rows,
                       2DTensorOf<[Index]>:$members);
  let results = (outs 4DTensorOf<MegaCtx_Storage>:$result);
  let assemblyFormat = [{
    $rows `at` $members attr-dict `:` functional-type(operands, results)
  }];
}

def MegaCtx_ScatterMeanOp : MegaCtx_TensorOp<"scatter_mean", [NoMemoryEffect]> {
  let summary = "the mean of what a row got in its clusters";
  let description = [{
    rows y [R, 1, M, D] of members [R, M] (index) and init [B, H, N, D], R = B H C
    -> [B, H, N, D] of one element type: row n of (b, h) is the mean, accumulated
    in f32, of the rows (r, m) with floor(r / C) = b H + h and members[r, m] = n,
    and init's row where there is none. Members of -1 give nothing.

    The paper does not say what a row in several clusters gets; its authors'
    program divides the sum by their number plus 0.01, which makes rows in none 0.

    Run-time errors: R that is no multiple of B H, and members that are neither -1
    nor less than N, end the run.

    Constraints:
    * `scatter_mean_c1`: rows and init have rank 4, one element type out of f32,
      f16 and bf16, and agree on D. Members have rank 2 and are of index.
    * `scatter_mean_c2`: rows are [R, 1, M, D] for members [R, M].
    * `scatter_mean_c3`: R is a multiple of B H.
    * `scatter_mean_c4`: the result has init's type.

    ```mlir
    %x = megactx.scatter_mean %y at %m outs(%zeros)
        : (tensor<128x1x?x64xf32>, tensor<128x?xindex>, tensor<2x4x?x64xf32>)
        -> tensor<2x4x?x64xf32>
    ```

    Effects: none; not speculated, as it may end the run.

    Source: Routing Transformer (arXiv:2003.05997), algorithm 1, and
    `scatter_cluster_items` of its program (google-research, routing_transformer).
  }];
  let arguments = (ins 4DTensorOf<MegaCtx_Storage>:$rows,
                       2DTensorOf<[Index]>:$members,
                       4DTensorOf<MegaCtx_Storage>:$init);
  let results = (outs 4DTensorOf<MegaCtx_Storage>:$result);
  let assemblyFormat = [{
    $rows `at` $members `outs` `(` $init `)` attr-dict
    `:` functional-type(operands, results)
  }];
}

#endif // MEGACTX_DIALECT_MEGACTX_ROUTE_OPS
