//===- OnnxPasses.td - what becomes of ONNX's operators ----*- tablegen -*-===//
//
// Owns the passes that take a graph of ONNX's operators.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXPASSES
#define MEGACTX_CONVERSION_ONNXPASSES

include "mlir/Pass/PassBase.td"

def FloatScoresPass : Pass<"megactx-float-scores", "::mlir::ModuleOp"> {
  let summary = "leave scores and probabilities of quantized attention unrounded";
  let description = [{
    Before: a normalized `onnx` module. After: around each Softmax of a product
    whose probabilities multiply values, what a `QuantizeLinear` and the
    `DequantizeLinear` with its scale and zero point round between the two
    products, scores, masks and probabilities, is left as it is. So attention of
    models that are quantized throughout (QDQ, as `quantize_static` of onnxruntime
    writes them) is one that `megactx-raise-onnx-attention` finds; queries, keys and
    values are rounded as before. Results differ from the quantized model's by what
    these roundings do, and are nearer to those of the model that was quantized. A
    warning says where there are none.
  }];
  let statistics = [
    Statistic<"numLeftOut", "left-out", "roundings that are left out">
  ];
}

def RaiseOnnxAttentionPass
    : Pass<"megactx-raise-onnx-attention", "::mlir::ModuleOp"> {
  let summary = "find attention in ONNX graphs";
  let description = [{
    Before: a normalized `onnx` module. After: each Softmax of a product of
    queries and keys, with scales, a softcap (a scaled Tanh), masks, changes of
    the element type and reshapes on the way, whose probabilities multiply
    values, is a `megactx.attention`; where they multiply several values, each
    product is one. A Softmax that is none of these is left. What products
    broadcast, such as learned keys that a batch shares, is repeated. Einsums may
    have their axes in any order. Of products with more than two outer dims the
    last one that is not 1 is the heads, those before it are one batch.

    So is a Softmax of scores that nodes cut out of a product of overlapping
    chunks and move, where it is proved which query and key each of them is of,
    that its probability multiplies the value of that key, that keys ascend by
    one along the Softmax, and that scores of no key are minus infinity. Which
    of the keys a query has is the pattern.

    A mask is followed backwards, element by element, through the nodes that
    compute it, as a function of batch, head, query position and key position.
    Where it is a number that masks (at most -10000) by a condition on positions
    alone, that condition, proved equal for all sizes, is the pattern; what
    depends on run-time values, such as a padding mask, is a bias of the
    dimensions that it depends on; any other term stays a bias as it is. A
    row that finite numbers mask altogether has the mean of all values: such
    numbers become patterns only where these provably leave a key to every row,
    that at its own position, the first or the last. Rows whose keys in the
    pattern are all masked by a finite bias of run-time values have the mean of
    the values that the pattern leaves.

    Remarks (`--remarks-filter=raise-onnx-attention`): `attention-raised`, with
    the pattern, at each node replaced; `attention-not-raised` at each Softmax,
    operator of attention, or softmax written as its parts, that is left, with
    the reason; `term-stays-bias` at each node that applies a mask or another
    term of which a bias is left, with what the term is and the reason;
    `positions-unknown` at an attention within one sequence that is `cross`,
    since its queries or keys have no known positions in it, with the reason.

    With `caches-in-place` a cache that comes into `main`, that one attention of
    a length per batch entry reads, and that comes out of it with the new rows, is
    written where it is: the result says `megactx.updates`, the argument's number.
    A run ends where it has no room for the new rows. `megactx-caches-in-place`
    does the same for caches that other nodes give new rows.
  }];
  let options = [
    Option<"cachesInPlace", "caches-in-place", "bool", "false",
           "write new rows into the caches that come in">
  ];
  let statistics = [
    Statistic<"numRaised", "raised", "attentions raised">,
    Statistic<"numPatterns", "patterns", "masks that became patterns">,
    Statistic<"numBiases", "biases", "masks and other terms that stay bias">,
    Statistic<"numTables", "tables",
              "constant matrices classified by all of their elements">
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::cf::ControlFlowDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::megactx::MegaCtxDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
}

def CachesInPlacePass : Pass<"megactx-caches-in-place", "::mlir::ModuleOp"> {
  let summary = "write new rows of caches where these are";
  let description = [{
    Before: an `onnx` module whose attention is raised. After: a cache that comes
    into `main`, that one node gives new rows, of which nothing else but its sizes
    is read, and that comes out with them, is written where it is; the result says
    `megactx.updates`, the argument's number. The node is

    - `Concat` with rows behind it, as in exports of Hugging Face's decoders: the
      argument is a buffer with room for more tokens. Rows are written behind as
      many as a new last argument, `past_sequence_length` of i64, says that every
      such buffer holds. A run ends where it has no room;
    - `TensorScatter` from a place for each batch entry on, in mode `linear`;
    - `ScatterND` or `ScatterElements`.

    It is an error where `main` has no result that updates an argument, by this or
    by `megactx-raise-onnx-attention`.
  }];
  let statistics = [
    Statistic<"numCaches", "caches", "caches that are written in place">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::cf::ControlFlowDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
}

def ConvertOnnxToLinalgPass
    : Pass<"megactx-convert-onnx-to-linalg", "::mlir::ModuleOp"> {
  let summary = "lower ONNX operators to linalg, tensor and arith";
  let description = [{
    Before: normalized `onnx` functions; other dialects' ops may stand among the
    nodes. After: no `onnx` op is left. Shapes are computed symbolically on the
    way, so arithmetic on shape tensors becomes a few index operations, and
    sizes that follow from others are static. What cannot be proved (operands
    that broadcast, indices in range) is checked at run time by `cf.assert`.

    With `integer-terms`, products of packed weights (`MatMulNBits`) whose accuracy
    level allows rows in 8 bits are of rows in 16: one row is sums of
    `megactx.dot_pairs`, more are a `megactx.packed_product`.

    With `channels-last`, what convolutions of f32 over 2 or 3 spatial axes read and
    write has its channels last in memory, and so have elementwise ops, pools,
    reductions and concatenations on the way from one to the next; other ops have
    it in the order of the graph. A convolution is a `megactx.convolution`, which
    pads, or a product where each result is of one element.

    With `top-k-ops`, `TopK` is a `megactx.top_k`, without it loops.
  }];
  let options = [
    Option<"channelsLast", "channels-last", "bool", "false",
           "convolve data whose channels are last in memory">,
    Option<"integerTerms", "integer-terms", "bool", "false",
           "multiply packed weights in integers where the accuracy asked for "
           "allows it">,
    Option<"topKOps", "top-k-ops", "bool", "false",
           "leave the search for largest elements to a library">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::func::FuncDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::megactx::MegaCtxDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
}

#endif // MEGACTX_CONVERSION_ONNXPASSES
