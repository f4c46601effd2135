//===- Convolution.h - linalg's ops that are convolutions -------*- C++ -*-===//
//
// Owns the form of convolutions in linalg: what makes them, keeps other ops out
// of them, and hands them to a library agree on it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_IR_CONVOLUTION_H
#define MEGACTX_DIALECT_MEGACTX_IR_CONVOLUTION_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include <optional>

namespace mlir::megactx {

/// A convolution of padded data [N, C, ...] with a kernel [M, C, ...] into
/// [N, M, ...], or of [N, G, C, ...] with [G, M, C, ...] into [N, G, M, ...],
/// over 1 to 3 spatial axes, in loops (n, (g,) m, element..., c, k...).
struct Convolution {
  bool hasGroups = false;
  bool isTransposed = false;               ///< the kernel is [C, M, ...]
  SmallVector<int64_t> strides, dilations; ///< per spatial axis, in elements

  unsigned getNumAxes() const { return strides.size(); }
};

/// Nothing where the op is none.
std::optional<Convolution> convolutionOf(linalg::GenericOp op);

} // namespace mlir::megactx

#endif
