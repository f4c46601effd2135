//===- WeightPasses.td - what becomes of weights --------------*- tablegen -*-===//
//
// Owns the passes over constants: which are arguments, which are computed before a
// run, and how bytes are multiplied.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_WEIGHTPASSES
#define MEGACTX_TRANSFORMS_WEIGHTPASSES

include "mlir/Pass/PassBase.td"

def HoistWeightsPass : Pass<"megactx-hoist-weights", "::mlir::ModuleOp"> {
  let summary = "turn big constants into arguments of main";
  let description = [{
    After: constant tensors of at least `threshold` bytes in `main` are
    arguments marked `megactx.weight` with their contents, equal ones shared.
    The artifact keeps the contents in a file that the runtime maps.
  }];
  let options = [
    Option<"threshold", "threshold", "int64_t", "1024", "bytes, at least">
  ];
  let statistics = [Statistic<"numWeights", "weights", "constants hoisted">];
}

def OutlineComputedWeightsPass
    : Pass<"megactx-outline-computed-weights", "::mlir::ModuleOp"> {
  let summary = "what is computed of weights alone, as a function of its own";
  let description = [{
    After: what `main` computes of constants alone is computed by a private
    function `computed_weights` without arguments, which `main` calls; it may be
    called when the model is compiled. It gives what is smallest: before what
    only repeats, gathers or widens, and nothing that is larger than what it is
    computed of. Nothing changes where the constants that the function would read
    are less than `threshold` bytes. For example weights that are transposed or
    scaled, the projections of DeBERTa's relative positions, or of queries that
    were learned, and the sums of quantized weights.
  }];
  let options = [
    Option<"threshold", "threshold", "int64_t", "65536", "bytes, at least">
  ];
  let dependentDialects = ["::mlir::func::FuncDialect"];
  let statistics = [
    Statistic<"numValues", "values", "values that the function gives">
  ];
}

def WidenIntegerProductsPass
    : Pass<"megactx-widen-integer-products", "::mlir::func::FuncOp"> {
  let summary = "products of bytes as products of f32, exactly";
  let description = [{
    For targets whose libraries have no product of bytes. After: a contraction of
    uint8 with int8 into int32, as of MatMulInteger, is a sum of
    contractions in f32 over 256 terms each, which the 24 bits of f32 hold.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [
    Statistic<"numWidened", "widened", "products that were widened">
  ];
}

#endif // MEGACTX_TRANSFORMS_WEIGHTPASSES
