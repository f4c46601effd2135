//===- RowReach.h - what rows of a shape see --------------------*- C++ -*-===//
//
// Owns what the rule and its classes of shapes ask of pieces: how many keys
// late rows see, and where these are. Knows no schedule.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_ROWREACH_H
#define MEGACTX_LIB_TARGET_NVGPU_ROWREACH_H

#include "../Common/AttentionShape.h"

namespace mlir::megactx::nvgpu {

/// Keys that a late row sees of all pieces, on average and, of some rows, at
/// most; of pieces that are of some heads alone, of the one with most. Nothing
/// where a run says how many.
std::optional<int64_t> averageKeys(const AttentionShape &shape);
std::optional<int64_t> mostKeys(const AttentionShape &shape);

/// Whether late rows of a piece in one view see keys from the first on: loops
/// over tiles are then as long as the sequence, and what is before and after
/// them is little.
bool hasLongRows(const AttentionShape &shape);

/// Whether rows see so few keys that small tiles, of which masks leave more,
/// are better than large ones: they are not long, and are of a strided view, or
/// late ones see no more than 96 Ki elements on average, or a run says how
/// many.
bool hasShortRows(const AttentionShape &shape);

/// Whether late rows see more keys than early ones do: of units of work, the
/// longest are then to come first.
bool hasGrowingRows(const AttentionShape &shape);

/// Whether the keys of a piece do not follow each other in memory.
bool hasGatheredKeys(const AttentionShape &shape);

} // namespace mlir::megactx::nvgpu

#endif
