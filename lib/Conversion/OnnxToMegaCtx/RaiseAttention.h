//===- RaiseAttention.h - nodes to megactx.attention ------------*- C++ -*-===//
//
// Owns the forms of attention that are known: operators, and what graphs spell
// out around a Softmax. Each replaces the results of its node, or says why not.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_RAISEATTENTION_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_RAISEATTENTION_H

#include "Masks.h"

namespace mlir::megactx::raise {

/// Why attention that is not over tokens is left.
inline constexpr StringLiteral kOfChannels =
    "its queries and keys are channels, whose products sum tokens";

/// A Softmax between a product of queries and keys and one with values. Empty
/// on success, else the reason why the node is left.
std::string raiseSoftmaxAttention(Operation *softmax, MaskCounts &counts);

/// ONNX's Attention, of opset 23 and newer: heads folded into the last dim are
/// split, a cache is prepended, masks are classified.
std::string raiseAttentionOp(Operation *op, MaskCounts &counts);

/// The same for ai.megactx.CachedAttention, whose caches get the new rows;
/// where they are, if that is asked for and possible.
std::string raiseCachedAttention(Operation *op, MaskCounts &counts,
                                 bool inPlace);

/// The same for a Softmax whose scores are cut out of a product of chunks;
/// nothing for all others.
std::optional<std::string> raiseChunkedAttention(Operation *softmax,
                                                 MaskCounts &counts);

/// What a value is that has one number for each of these rows, which a node of
/// that type made of them; null where it is not.
Operation *reductionOfRows(Value value, StringRef type, Value rows);

/// A quotient of exponentials and their sums becomes a Softmax; others stay.
void joinSoftmax(Operation *quotient);

/// Computes a Softmax with its keys' axis last, of a product of queries and
/// keys, whatever the order of the axes of its scores.
void turnScores(Operation *softmax);

/// A sum or difference of scores times a mask and a number times what the mask
/// leaves is replaced by a choice; others stay.
void chooseByMask(Operation *sum);

/// Multiplies probabilities with values before their axes are reordered.
void turnProbabilities(Operation *product);

/// A product of matrices, the first of which sums the probabilities of some
/// Softmaxes or scales rows of them, is replaced by one for each; others stay.
void distributeProduct(Operation *product);

} // namespace mlir::megactx::raise

#endif
