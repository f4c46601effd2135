//===- FuseGradients.h - from links of gradients to kernels -----*- C++ -*-===//
//
// Owns how a chain of links becomes fused gradients: of queries by how query
// rows are seen, of keys and values by how key rows are, and of each bias whose
// gradient is asked for.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TRANSFORMS_FUSEGRADIENTS_H
#define MEGACTX_LIB_TRANSFORMS_FUSEGRADIENTS_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::megactx {

/// Whether a tensor is filled with an f32 of this value.
bool isFilledWith(Value value, float wanted);

/// The links of one attention's gradients, in order.
using GradientLinks = SmallVector<OnlineAttentionBackwardOp>;
/// All those whose sums go from one link to the next alone.
SmallVector<GradientLinks> gradientChains(Operation *root);
/// Replaces the links by fused gradients; returns how many. `biasParts`: of the
/// gradient of a bias whose elements have pairs of many queries.
unsigned fuseGradients(const GradientLinks &links, int64_t biasParts,
                       RewriterBase &rewriter);

} // namespace mlir::megactx

#endif
