//===- RaiseAttentionOp.h - ONNX's own Attention ----------------*- C++ -*-===//
//
// Owns how the operator Attention of opset 23 and newer becomes
// megactx.attention. Graphs that spell attention out: RaiseOnnxAttention.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_RAISEATTENTIONOP_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_RAISEATTENTIONOP_H

#include "Masks.h"

namespace mlir::megactx::raise {

/// Replaces the results of the node: heads folded into the last dim are split,
/// a cache is prepended, masks are classified. Empty on success, else the
/// reason why the node is left.
std::string raiseAttentionOp(Operation *op, MaskCounts &counts);

/// The same for ai.megactx.CachedAttention, whose caches get the new rows;
/// where they are, if that is asked for and possible.
std::string raiseCachedAttention(Operation *op, MaskCounts &counts,
                                 bool inPlace);

/// The same for a Softmax whose scores are cut out of a product of chunks;
/// nothing for all others.
std::optional<std::string> raiseChunkedAttention(Operation *softmax,
                                                 MaskCounts &counts);

} // namespace mlir::megactx::raise

#endif
