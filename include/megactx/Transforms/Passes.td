//===- Passes.td - passes within one level ---------------------*- tablegen -*-===//
//
// Owns the declarations of every pass that stays within one level. Passes
// between levels are declared in megactx/Conversion/Passes.td.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_PASSES
#define MEGACTX_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

#endif // MEGACTX_TRANSFORMS_PASSES
