//===- CacheRows.h - rows of caches -----------------------------*- C++ -*-===//
//
// Owns what caches that get new rows have in common, whatever node gives them.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_CACHEROWS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_CACHEROWS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx::raise {

/// What a run says where a cache is too small.
inline constexpr StringLiteral kNoRoom =
    "a cache that is written in place has no room for all tokens";

/// The first `count` rows along `axis`.
Value firstRows(ImplicitLocOpBuilder &b, Value cache, int64_t axis,
                Value count);

/// A run fails with the message where rows are of other sizes than the cache,
/// but along `axis`.
void requireSizes(ImplicitLocOpBuilder &b, Value cache, Value rows,
                  int64_t axis, const Twine &message);

/// The cache with what its rows' type says of its sizes, but along `axis`.
Value withSizesOf(ImplicitLocOpBuilder &b, Value cache, Value rows,
                  int64_t axis);

} // namespace mlir::megactx::raise

#endif
