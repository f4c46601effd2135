//===- SegmentBounds.h - segments as intervals of keys ----------*- C++ -*-===//
//
// Owns how pieces that test segment ids become pieces with bounds, where ids do
// not decrease: then a segment is a run of keys.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_SEGMENTBOUNDS_H
#define MEGACTX_PATTERN_SEGMENTBOUNDS_H

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

/// Whether one of the formula's atoms is about segments.
bool speaksOfSegments(const Formula &formula);

/// Whether the piece reads bounds of segments.
bool readsSegments(const Piece &piece);

} // namespace mlir::megactx::pattern

#endif
