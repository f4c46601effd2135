//===- VectorBits.h - widths of a CPU's vector registers --------*- C++ -*-===//
//
// Owns which widths passes take as their option `vector-bits`.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_SUPPORT_VECTORBITS_H
#define MEGACTX_SUPPORT_VECTORBITS_H

#include "mlir/IR/Operation.h"

namespace mlir::megactx {

/// An error of the operation where no register has so many bits.
inline LogicalResult verifyVectorBits(Operation *op, int64_t bits) {
  if (bits == 128 || bits == 256 || bits == 512)
    return success();
  return op->emitError("expected vector-bits of 128, 256 or 512, but got ")
         << bits;
}

} // namespace mlir::megactx

#endif
