//===- Passes.h -------------------------------------------------*- C++ -*-===//
//
// Declares the passes of this folder and their registration.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_PASSES_H
#define MEGACTX_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::megactx {

/// Attribute of the runtime's functions whose memrefs are in the device's
/// memory; those of any other function are the host's.
constexpr llvm::StringLiteral kOnDeviceAttr = "megactx.on_device";

/// Whether nodes of this operator of ai.onnx have a lowering to linalg.
bool isLoweredToLinalg(llvm::StringRef name);

#define GEN_PASS_DECL
#include "megactx/Conversion/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "megactx/Conversion/Passes.h.inc"

} // namespace mlir::megactx

#endif
