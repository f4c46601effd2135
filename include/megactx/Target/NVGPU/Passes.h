//===- Passes.h -------------------------------------------------*- C++ -*-===//
//
// Declares the passes of this folder and their registration.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TARGET_NVGPU_PASSES_H
#define MEGACTX_TARGET_NVGPU_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::megactx {

#define GEN_PASS_DECL
#include "megactx/Target/NVGPU/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "megactx/Target/NVGPU/Passes.h.inc"

} // namespace mlir::megactx

#endif
