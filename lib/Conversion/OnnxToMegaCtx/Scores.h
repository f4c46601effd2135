//===- Scores.h - what a Softmax is taken of --------------------*- C++ -*-===//
//
// Owns how nodes between a product of queries and keys and its Softmax are
// read: scales, a softcap, masks, and reshapes between them. Changes nothing.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_SCORES_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_SCORES_H

#include "Masks.h"
#include <string>

namespace mlir::megactx::raise {

class Operands;

/// Everything found between the product of queries and keys and the Softmax.
struct Scores {
  Value product; ///< [B, H, Nq, Nk] or [B * H, Nq, Nk], or of more outer dims
  Value query, key;          ///< [.., Nq, D] and [.., D, Nk]
  SmallVector<Scale> scales; ///< of the product
  /// Where the scores are cap * tanh(scaled product / cap): numbers whose
  /// product is the cap after Tanh; the scales above are those before it.
  bool isCapped = false;
  SmallVector<Scale> caps;
  /// What is added, and Where(condition, fill, scores), in the order of the
  /// graph.
  SmallVector<Term> terms;
  SmallVector<Operation *> reshapes; ///< of the scores, in the graph's order
  /// A score per row of a key that has no value, [B, H, Nq, 1], and whether it
  /// stands before the others.
  Value sink;
  bool isSinkFirst = false;
};

/// Empty where `value` is a product of queries and keys with scales, masks and
/// reshapes on the way, beside a sink or not; else the reason found farthest
/// from it.
std::string matchScores(Value value, Operands &operands, Scores &scores);

/// Follows the one use of probabilities through copies, reshapes and guards
/// against rows without keys, to where there is another or several. Who asks
/// for their sizes is no use, and gets them elsewhere. Probabilities that a
/// mask hides once more make that mask's number minus infinity. `lastReshape`
/// is the result of the last reshape, if there is one. Where scores have a
/// sink, its probability has to be cut off on the way: null where it is not.
Value skipGuards(ImplicitLocOpBuilder &b, Value probabilities, Scores &scores,
                 Value &lastReshape);

/// Why a projection is no scores.
std::string describeProjection(Value value);

/// A node that says nothing new of its first operand's numbers: a copy, or a
/// change to another type of floats.
bool isCopy(Operation *op);

} // namespace mlir::megactx::raise

#endif
