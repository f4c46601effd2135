//===- MegaCtxRowsOps.td - ops on the same rows ----------------*- tablegen -*-===//
//
// Owns the op that says what is done row by row: on memrefs, what one kernel of a
// GPU does.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_ROWS_OPS
#define MEGACTX_DIALECT_MEGACTX_ROWS_OPS

def MegaCtx_FusedRowsOp : Op<MegaCtx_Dialect, "fused_rows",
    [SingleBlock, NoTerminator, NoRegionArguments, RecursiveMemoryEffects]> {
  let summary = "one kernel's worth of reductions and maps of the same rows";
  let description = [{
    Does the ops of its body one after the other for each row, rows in any order
    and at the same time. Rows are the points of the leading parallel loops that
    all of the ops have; the loops behind them run along a row, as reductions or,
    in maps, as parallel loops. So a normalisation is one op: its sums and its
    result, and the sum with a residual that it is of.

    What one op writes and another one reads or writes, all do at the same place
    for the same point of their loops: an element stays with whoever computes
    that point. What is reduced is not read before, but by ops that another one
    before them has reduced it for. Of `scratch` nobody reads the contents afterwards, so that they
    need not be written.

    Constraints:
    * `fused_rows_c1`: the body has linalg.generic and linalg.fill on memrefs;
      a linalg.fill is of what one of the reductions starts from.
    * `fused_rows_c2`: all linalg.generic have as many loops, and as many rows;
      one of them at least reduces.
    * `fused_rows_c3`: a single op with a neutral element combines partial
      results of a reduction.
    * `fused_rows_c4`: ops of the body write what is scratch.

    ```mlir
    megactx.fused_rows scratch(%sum : memref<?xf32>) {
      linalg.fill ins(%zero : f32) outs(%sum : memref<?xf32>)
      linalg.generic {indexing_maps = [#ij, #i],
                      iterator_types = ["parallel", "reduction"]}
          ins(%x : memref<?x512xf32>) outs(%sum : memref<?xf32>) {
      ^bb0(%a: f32, %s: f32):
        %0 = arith.addf %a, %s : f32
        linalg.yield %0 : f32
      }
      linalg.generic {indexing_maps = [#ij, #i, #ij],
                      iterator_types = ["parallel", "parallel"]}
          ins(%x, %sum : memref<?x512xf32>, memref<?xf32>)
          outs(%y : memref<?x512xf32>) {
      ^bb0(%a: f32, %s: f32, %old: f32):
        %0 = arith.divf %a, %s : f32
        linalg.yield %0 : f32
      }
    }
    ```

    Effects: those of the ops in its body.
  }];
  let arguments = (ins Variadic<AnyMemRef>:$scratch);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    (`scratch` `(` $scratch^ `:` type($scratch) `)`)? $body attr-dict
  }];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// The linalg.generic of the body, in order.
    ::llvm::SmallVector<::mlir::linalg::GenericOp> getRowOps();
    /// How many of their loops count rows.
    unsigned getNumRowLoops();
  }];
}

#endif // MEGACTX_DIALECT_MEGACTX_ROWS_OPS
