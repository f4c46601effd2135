//===- Sizes.h - what is known of tensors' sizes ----------------*- C++ -*-===//
//
// Owns questions to MLIR's value bounds about the sizes of tensors and buffers,
// in time that does not grow with what chooses sizes.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_SIZES_H
#define MEGACTX_DIALECT_MEGACTX_SIZES_H

#include "mlir/Interfaces/ValueBoundsOpInterface.h"

namespace mlir::megactx {

/// A size: a dimension of a tensor or buffer, or an index.
using SizeVariable = ValueBoundsConstraintSet::Variable;

/// Whether the sizes are always equal, as far as that is known.
bool areEqualSizes(const SizeVariable &a, const SizeVariable &b);

/// The number that the size always is, where that is known.
std::optional<int64_t> constantSize(const SizeVariable &size);

} // namespace mlir::megactx

#endif
