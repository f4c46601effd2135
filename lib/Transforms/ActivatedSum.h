//===- ActivatedSum.h - elementwise ops that are epilogues ------*- C++ -*-===//
//
// Owns the question whether the body of an elementwise op is a sum of its
// inputs with an activation that `megactx.product` knows, however it is
// spelled.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TRANSFORMS_ACTIVATEDSUM_H
#define MEGACTX_LIB_TRANSFORMS_ACTIVATEDSUM_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

namespace mlir::megactx {

/// activation(sum of the inputs of these numbers, in ascending order).
struct ActivatedSum {
  SmallVector<unsigned> inputs;
  Activation activation = Activation::None;

  /// What the op's one result is, as real numbers: casts between floats are
  /// nothing, and constants are taken for those of an activation within 2^-8,
  /// which is what they are rounded by to bf16. None where it is anything else,
  /// or the op is not elementwise, with one result, on floats.
  static std::optional<ActivatedSum> of(linalg::GenericOp op);
};

} // namespace mlir::megactx

#endif
