//===- Windows.h - windows over spatial axes --------------------*- C++ -*-===//
//
// What convolutions and pools share: strides, dilations and padding of windows
// over the axes after the first two, and how many windows there are.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_WINDOWS_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_WINDOWS_H

#include "Lowering.h"

namespace mlir::megactx {

/// Entry i of each list is of spatial axis i. Window o of an axis reads the
/// elements o * stride - before + k * dilation for 0 <= k < kernel.
struct Windows {
  SmallVector<int64_t> strides, dilations;
  Shape kernel, before, after, counts;

  int64_t rank() const { return strides.size(); }
};

/// The windows of the node's attributes over its first operand, with the
/// kernel's sizes. Reports attributes that do not fit, and checks at run time
/// that kernels are not larger than what they read.
FailureOr<Windows> windowsOf(Node &node, ArrayRef<IndexExpr> kernel);

} // namespace mlir::megactx

#endif
