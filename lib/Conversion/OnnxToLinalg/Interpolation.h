//===- Interpolation.h - elements between those of a tensor -----*- C++ -*-===//
//
// Owns where results of a Resize are in its data and which elements they are
// made of. What sizes results have is not known here.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_INTERPOLATION_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_INTERPOLATION_H

#include "Lowering.h"

namespace mlir::megactx {

/// An axis that is resized: the data's size, as an index and a number, the
/// result's, and how often it is the data's, which need not be their ratio.
/// Where a part of the data is resized, where it begins and ends, in lengths of
/// the data. All f32 but for the first.
struct ResizedAxis {
  int64_t dim;
  Value size, length, width, scale, begin, end;
};

/// In a body of `rank` loops over the result: its element, which reads one
/// (nearest), two (linear) or four (cubic) along each axis, with weights that
/// are multiplied over the axes.
Value interpolated(OpBuilder &b, Location loc, Node &node,
                   ArrayRef<ResizedAxis> axes, int64_t rank, Value from);

/// The same along one axis alone, of all elements that are as near, in the
/// result's steps where these are the wider, as the two or four would be.
Value smoothed(OpBuilder &b, Location loc, Node &node, const ResizedAxis &axis,
               int64_t rank, Value from);

} // namespace mlir::megactx

#endif
