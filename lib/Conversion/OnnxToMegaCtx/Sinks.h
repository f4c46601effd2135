//===- Sinks.h - scores of keys that have no value --------------*- C++ -*-===//
//
// Owns what a learned sink, one more key in each row's softmax, does to
// attention.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_SINKS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_SINKS_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx::raise {

/// The attention's result with a sink of these scores, which are broadcast to
/// [B, Hq, Nq, 1]. The attention has its log-sum-exp.
Value withSink(ImplicitLocOpBuilder &b, AttentionOp attention, Value sink);

/// Whether a node cuts the first, or the last, probability of each row off.
bool cutsSinkOff(Operation *node, Value probabilities, bool isFirst);

} // namespace mlir::megactx::raise

#endif
