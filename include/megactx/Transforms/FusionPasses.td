//===- FusionPasses.td - what is computed together ---------*- tablegen -*-===//
//
// Owns the passes that make fewer ops of linalg's: elementwise ones, those behind
// products, those of the same rows.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_FUSIONPASSES
#define MEGACTX_TRANSFORMS_FUSIONPASSES

include "mlir/Pass/PassBase.td"

def FuseElementwisePass
    : Pass<"megactx-fuse-elementwise", "::mlir::func::FuncOp"> {
  let summary = "fuse elementwise linalg, not with products";
  let description = [{
    Upstream's `linalg-fuse-elementwise-ops`, but that matrix products stay as they
    are: it folds reshapes into them, such as that of a projection into heads where
    the batch is 1, and what their operands are computed by, and what is left is no
    product of two matrices that the runtime multiplies.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def FuseProductEpiloguesPass
    : Pass<"megactx-fuse-product-epilogues", "::mlir::func::FuncOp"> {
  let summary = "make bias, residual and activation a part of the product";
  let description = [{
    Before: linalg on tensors. After: a matrix product whose result is used once,
    in elementwise ops that add a vector to each row, add a tensor of its shape, or
    are ReLU or the tanh GELU, is a `megactx.product` with that epilogue. Reshapes
    in between that keep rows move behind it. The order of additions does not
    matter, nor how they are spelled: bodies are compared as polynomials, and casts
    to f32 and back count as none. Sums and activations are in f32 then, rounded
    once, where a chain of ops on bf16 or f16 rounds after each.

    What ends an epilogue: another use of the result; a second bias or residual,
    which stay ops of their own; anything but casts behind an activation. A bias is
    for one matrix of more than one column. The tanh GELU is left alone in f32, and
    the GELU with erf everywhere: cuBLASLt has no such.

    ```mlir
    %p = linalg.generic ins(%x, %w) outs(%zeros) { p += x * w } : tensor<1x?x512xbf16>
    %q = linalg.generic ins(%p, %bias) { p + bias }
    %y = linalg.generic ins(%r, %q) { r + q }
    ```
    becomes
    ```mlir
    %y = megactx.product %x, %w bias(%bias) residual(%r) outs(%empty) : ...
    ```

    Run again after `megactx-fuse-elementwise` it finds activations that were
    several ops.
  }];
  let statistics = [
    Statistic<"numBiases", "biases", "biases that products add">,
    Statistic<"numResiduals", "residuals", "residuals that products add">,
    Statistic<"numActivations", "activations", "activations of products">
  ];
  let dependentDialects = ["::mlir::megactx::MegaCtxDialect",
                           "::mlir::tensor::TensorDialect"];
}

def RecomputeMapsPass
    : Pass<"megactx-recompute-maps", "::mlir::func::FuncOp"> {
  let summary = "give each user of a map of rows a map of its own";
  let description = [{
    Before: linalg on tensors. After: an elementwise op that several linalg ops
    use, matrix products not among them, stands once for each of them, so that
    `megactx-fuse-elementwise` makes it a part of each and its result is nowhere in
    memory. It is done where every user can compute it and reads no more bytes for
    it than before: no more than one operand is as large as the result, in the same
    order, with elements that are no wider; others, such as a row's mean or a
    vector of weights, are smaller. Unit dims that reductions kept are dropped
    before, so that no reshape is in between.

    A normalisation, which was two reductions and three maps that write a whole
    activation each, is left as two reductions and a map that read its input. Each
    copy computes what the map did, roundings to narrow types included.

    ```mlir
    %wide = linalg.generic ins(%x) { extf }
    %sum = linalg.generic ins(%wide) { sum += wide }
    %centred = linalg.generic ins(%wide, %sum) { wide - sum / 768 }
    ```
    becomes
    ```mlir
    %wide = linalg.generic ins(%x) { extf }
    %sum = linalg.generic ins(%wide) { sum += wide }
    %again = linalg.generic ins(%x) { extf }
    %centred = linalg.generic ins(%again, %sum) { again - sum / 768 }
    ```
  }];
  let options = [
    Option<"mostOps", "most-ops", "int64_t", "1024",
           "ops of an element that are computed again, at most; a function, as "
           "an exponential, is 16">
  ];
  let statistics = [
    Statistic<"numMaps", "maps", "ops that each user computes itself">,
    Statistic<"numCopies", "copies", "copies of them">
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def UpdateInPlacePass
    : Pass<"megactx-update-in-place", "::mlir::func::FuncOp"> {
  let summary = "write an elementwise op's result where what it is of was";
  let description = [{
    Before: linalg on tensors. After: an elementwise op has as its destination an
    operand of its result's type that it reads in the same order, that another
    linalg op has computed into memory of its own, and that nobody uses
    afterwards: bufferization then needs no second buffer, and a row of it that
    is still in a core's caches is written there.

    ```mlir
    %e = linalg.generic ins(%x) outs(%empty) { exp(x) }
    %sum = linalg.generic ins(%e) outs(%zeros) { sum += e }
    %y = linalg.generic ins(%e, %sum) outs(%empty) { e / sum }
    ```
    becomes
    ```mlir
    %e = linalg.generic ins(%x) outs(%empty) { exp(x) }
    %sum = linalg.generic ins(%e) outs(%zeros) { sum += e }
    %y = linalg.generic ins(%e, %sum) outs(%e) { e / sum }
    ```
  }];
  let statistics = [
    Statistic<"numUpdates", "updates", "results in an operand's place">
  ];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def FuseRowsPass : Pass<"megactx-fuse-rows", "::mlir::func::FuncOp"> {
  let summary = "do reductions and maps of the same rows as one op";
  let description = [{
    Before: linalg on memrefs, with buffers that have not been placed in an arena.
    After: reductions of rows, what computes the rows before them and what maps
    them afterwards are in one `megactx.fused_rows`, which stands where the last of
    them stood; so buffers that one of them uses live as long as all of them.

    Ops belong together where they have the same loops, of the same extents, and
    one reads or writes at each point what another one reads or writes there, as a
    sum and what divides by it. They can be done row by row where they have no
    other memory in common that one of them writes. Ops between them that use none
    of what they write stay before them, others end what can be fused, and so does
    what is no linalg op. Rows that are known to be shorter than `least-extent`
    are left to other kernels, and so are rows that are known to be few and no
    shorter than `long-extent`, which several cores can share.

    ```mlir
    linalg.generic ... outs(%x)                                 // x = a + b
    linalg.fill ins(%zero) outs(%sum)
    linalg.generic ... ["parallel", "reduction"] ins(%x) outs(%sum)
    linalg.generic ... ins(%x, %sum) outs(%y)                   // y = x / sum
    ```
    becomes
    ```mlir
    megactx.fused_rows scratch(%sum) { ... }                    // the same ops
    ```
  }];
  let options = [
    Option<"leastExtent", "least-extent", "int64_t", "8",
           "elements of a row that is fused, at least">,
    Option<"longExtent", "long-extent", "int64_t",
           "std::numeric_limits<int64_t>::max()",
           "elements of a row that is not fused where there are less than 32">
  ];
  let statistics = [
    Statistic<"numGroups", "groups", "ops that do others row by row">,
    Statistic<"numOps", "ops", "ops in them">
  ];
  let dependentDialects = ["::mlir::megactx::MegaCtxDialect"];
}

#endif // MEGACTX_TRANSFORMS_FUSIONPASSES
