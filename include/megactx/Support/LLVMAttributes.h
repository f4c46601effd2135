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

/// LLVM may unroll the function's loops. Others stay as they are: who emits
/// products of tiles has unrolled them already, and of what is around them
/// there are few turns.
constexpr llvm::StringLiteral kUnrollAttr = "megactx-unroll";

} // namespace mlir::megactx

#endif
