//===- Convolution.h - sums of products in windows --------------*- C++ -*-===//
//
// What convolutions of floats and of integers share.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_CONVOLUTION_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_CONVOLUTION_H

#include "Windows.h"

namespace mlir::megactx {

/// A convolution of padded data with one kernel per group. Of a transposed one
/// the kernel is [C, M / group, ...].
struct Convolution {
  Convolution(int64_t group, const Windows &windows)
      : group(group), strides(windows.strides), dilations(windows.dilations),
        counts(windows.counts) {}
  Convolution(int64_t group, ArrayRef<int64_t> strides,
              ArrayRef<int64_t> dilations, ArrayRef<IndexExpr> counts,
              bool isTransposed)
      : group(group), strides(strides), dilations(dilations), counts(counts),
        isTransposed(isTransposed) {}

  int64_t group;
  ArrayRef<int64_t> strides, dilations;
  ArrayRef<IndexExpr> counts;
  bool isTransposed = false;
};

/// x [N, group * C, spatial], w [group * M, C, kernel] -> [N, group * M,
/// counts].
Tensor convolve(Node &node, Tensor &x, Tensor &w, const Convolution &with);

/// The tensor with zeros around its spatial axes.
FailureOr<Tensor> padded(Node &node, Tensor &x, ArrayRef<IndexExpr> before,
                         ArrayRef<IndexExpr> after);

/// Checks ranks and groups of data and kernel; gives the number of groups.
FailureOr<int64_t> groupsOf(Node &node, bool isTransposed);

/// The node's windows, whose kernel has the sizes that its attribute says, if
/// it says any.
FailureOr<Windows> windowsOfKernel(Node &node);

} // namespace mlir::megactx

#endif
