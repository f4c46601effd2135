//===- Warp.h - values that the lanes of a warp share -----------*- C++ -*-===//

#ifndef MEGACTX_DIALECT_NVX_UTILS_WARP_H
#define MEGACTX_DIALECT_NVX_UTILS_WARP_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlir::nvx {

constexpr int64_t kWarp = 32; ///< lanes

/// Of integers and floats up to 64 bits, one a lane: what `join` makes of those
/// of `lanes` lanes, a power of two, that follow each other; the same in each
/// of these. All lanes of the warp have to come here.
Value reduceInWarp(ImplicitLocOpBuilder &b, Value x,
                   function_ref<Value(Value, Value)> join,
                   int64_t lanes = kWarp);

} // namespace mlir::nvx

#endif
