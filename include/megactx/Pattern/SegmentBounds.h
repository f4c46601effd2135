//===- SegmentBounds.h - segments as intervals of keys ----------*- C++ -*-===//
//
// Owns how pieces that test segment ids become pieces with bounds, where ids do
// not decrease: then a segment is a run of keys.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_SEGMENTBOUNDS_H
#define MEGACTX_PATTERN_SEGMENTBOUNDS_H

#include "megactx/Pattern/Pattern.h"
#include "megactx/Pattern/Piece.h"
#include "llvm/ADT/StringRef.h"

namespace mlir::megactx::pattern {

/// Values per row that lowerings know: the position of the first key of the
/// segment that a position is in, and one past that of its last.
constexpr llvm::StringLiteral kSegmentBegin = "segment_begin";
constexpr llvm::StringLiteral kSegmentEnd = "segment_end";

/// Whether query and key have one segment id: the relation of `segments`.
Expr sameSegment();

/// In the place of the piece's test that query and key have one segment id,
/// if it has one: bounds of keys. Whether ids are not tested otherwise, such as
/// that they differ; then nothing is changed.
bool boundSegments(Piece &piece);

/// Whether a name in the pattern is about segments, for a source of this step;
/// `segments or dense` is one that selects the same keys whatever the ids are.
bool speaksOfSegments(const Pattern &pattern, int64_t keyStep);

/// Whether the piece reads bounds of segments.
bool readsSegments(const Piece &piece);

} // namespace mlir::megactx::pattern

#endif
