//===- ChunkedParts.h - scores of chunks, part by part ----------*- C++ -*-===//
//
// Owns which query, key and value the scores and probabilities of a Softmax
// between products of chunks are of: which query and key an element of its
// operand is of follows from tracing that element, which key a probability
// weighs from tracing the rows of values that it multiplies. What is left are
// positions, and conditions on them. Changes nothing.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_CHUNKEDPARTS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_CHUNKEDPARTS_H

#include "ChunkedProducts.h"
#include "Masks.h"
#include <string>

namespace mlir::megactx::raise {

/// A part of the Softmax's row: some scores, and the values that they weigh.
struct Part {
  Operation *context; ///< probabilities x values
  Rows value;
  AffineExpr keys; ///< how many
  Rows key = {};
  Operation *scores = nullptr;     ///< queries x keys, chunk by chunk
  Place outer = {};                ///< the context's row (b, h, p)
  AffineExpr keyShift = {};        ///< key row less the place in a chunk
  Place row = {};                  ///< of the Softmax, for (b, h, p)
  AffineExpr shift = {};           ///< place in that row less key row
  AffineExpr first = {}, end = {}; ///< the part of the row
  SmallVector<Term> terms = {};    ///< added to its scores, or masks among them
  Value scored = {};               ///< what its scores are moved to,
  Place scoredAt = {};             ///< and where (b, h, p, k) is in it
  Condition hasWeights = Condition::constant(true); ///< of rows, at run time
  bool isSelf = false; ///< its keys stand where queries do

  Condition isInside(AffineExpr place) const {
    return Condition::within(place - first, end - first);
  }
};

class ChunkedParts {
public:
  ChunkedParts(Operation *softmax, Positions &positions, ElementValues &values)
      : softmax(softmax), positions(positions), values(values) {}

  /// Empty on success, else the reason why this Softmax is no such attention;
  /// nothing where it is between other things than products of chunks.
  std::optional<std::string> trace();

  ChunkedProducts products;
  Rows query;
  Place sizes;                 ///< B, H, Nq
  std::vector<Part> parts;     ///< in the order of the Softmax's row
  SmallVector<Variable> order; ///< in which the sum has its rows

  /// What holds of queries, and these facts.
  void know(const Condition &facts);

private:
  AffineExpr var(Variable v) const { return positions.variable(v); }
  SmallVector<Leaf> leavesAt(Value tensor, ArrayRef<AffineExpr> place);
  std::optional<AffineExpr> numberOf(AffineExpr expr, const Condition &path);
  bool findSources();
  void findBounds();
  std::string placeContexts(ArrayRef<Variable> order);
  std::string placeContext(Value value, const Place &place);
  std::string traceRows();
  std::string traceValues(Part &part);
  std::string traceProbabilities(Part &part);
  bool placeRow(Part &part, AffineExpr x, const Condition &here);
  std::string placeKeys(Part &part, const Leaf &leaf);
  std::string traceScores(Part &part);
  void addTerm(Part &part, Value value, Operation *node, const Condition &facts,
               Value scores);
  std::string followScores(Part &part, ArrayRef<Leaf> leaves);
  std::string traceProducts(Part &part, ArrayRef<Leaf> leaves);
  bool isRowOf(const Rows &rows, Value operand, const Place &place,
               AffineExpr row);
  bool isMaskedOutside(const Part &part);
  bool coverRow();

  Operation *softmax;
  Positions &positions;
  ElementValues &values;
  SmallVector<Rows> keys; ///< of each product of queries and keys
  Place bounds; ///< where parts of the Softmax's row may start and end
};

} // namespace mlir::megactx::raise

#endif
