//===- Passes.h -------------------------------------------------*- C++ -*-===//
//
// Declares the passes of this folder and their registration.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_PASSES_H
#define MEGACTX_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::megactx {

/// The function that OutlineComputedWeightsPass makes.
constexpr llvm::StringLiteral kComputedWeights = "computed_weights";

#define GEN_PASS_DECL
#include "megactx/Transforms/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "megactx/Transforms/Passes.h.inc"

} // namespace mlir::megactx

#endif
