//===- StoredBytes.h - how large a tensor is in a file ----------*- C++ -*-===//

#ifndef MEGACTX_SUPPORT_STOREDBYTES_H
#define MEGACTX_SUPPORT_STOREDBYTES_H

#include "mlir/IR/BuiltinTypes.h"

namespace mlir::megactx {

/// Bytes of a tensor of integers or floats of static sizes, each element in
/// whole bytes.
inline int64_t storedBytes(ShapedType type) {
  return type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8);
}

} // namespace mlir::megactx

#endif
