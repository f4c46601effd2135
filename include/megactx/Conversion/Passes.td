//===- Passes.td - passes between levels -----*- tablegen -*-===//
//
// Owns the declarations of every pass that leads from one level to the next; one
// folder per arrow holds its implementation.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_PASSES
#define MEGACTX_CONVERSION_PASSES

include "mlir/Pass/PassBase.td"

#endif // MEGACTX_CONVERSION_PASSES
