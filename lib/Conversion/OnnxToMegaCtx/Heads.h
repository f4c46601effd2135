//===- Heads.h - heads folded into the last dim -----------------*- C++ -*-===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_HEADS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_HEADS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx::raise {

/// An initializer of rank 1.
Value integerList(ImplicitLocOpBuilder &b, ArrayRef<int64_t> list);

/// [B, N, H * D] as [B, H, N, D].
Value splitHeads(ImplicitLocOpBuilder &b, Value rows, int64_t heads);

/// [B, H, N, D] as [B, N, H * D].
Value joinHeads(ImplicitLocOpBuilder &b, Value rows);

} // namespace mlir::megactx::raise

#endif
