//===- LLVMAttributes.h - what code says to LLVM ----------------*- C++ -*-===//
//
// Owns the attributes of functions that lowerings leave, in `passthrough`, for
// who runs LLVM's pipeline.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_SUPPORT_LLVMATTRIBUTES_H
#define MEGACTX_SUPPORT_LLVMATTRIBUTES_H

#include "llvm/ADT/StringRef.h"

namespace mlir::megactx {

/// The attribute of functions in MLIR that lists those in LLVM IR.
constexpr llvm::StringLiteral kPassthrough = "passthrough";

/// LLVM is to leave the function's loops as they are: products of tiles are
/// unrolled where they are emitted, and loops around them have few turns.
constexpr llvm::StringLiteral kNoUnrollAttr = "megactx-no-unroll";

} // namespace mlir::megactx

#endif
