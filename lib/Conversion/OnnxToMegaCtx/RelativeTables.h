//===- RelativeTables.h - elements by distance ------------------*- C++ -*-===//
//
// Owns how elements that depend on the positions of query and key by their
// distance alone are told, and the tensors that have them for each distance.
// Relative position biases (T5, arXiv:1910.10683) and slopes on distances
// (ALiBi, arXiv:2108.12409) are such.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_RELATIVETABLES_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_RELATIVETABLES_H

#include "ElementValues.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx::raise {

class RelativeTables {
public:
  RelativeTables(ImplicitLocOpBuilder &b, Positions &positions,
                 ElementValues &values)
      : b(b), positions(positions), values(values) {}

  /// The element with the distance from query to key, kKey - kQuery, in the
  /// place of kKey and no kQuery; nothing where it is not known to depend on
  /// the distance alone. Matrices that it reads are computed again, as vectors
  /// with an entry for each distance, by nodes before the builder's place.
  std::optional<Element> of(const Element &element);

private:
  /// A dim of queries and one of keys.
  struct Dims {
    int64_t row, column;
  };
  std::optional<AffineExpr> byDistance(AffineExpr expr);
  std::optional<Condition> of(const Condition &condition);
  std::optional<Element> ofRead(const Element &read);
  /// The tensor whose element [.., i, .., j, ..] is the result's
  /// [.., 0, .., j - i + rows - 1, ..]; null where there is none.
  Value table(Value matrix, Dims dims);
  Value computed(Value matrix, Dims dims);
  Value emitted(const Element &element, Value matrix, Dims dims);
  Value nodeOfTables(Operation *op, Dims dims);
  bool tableOfOperand(Value &operand, const Place &whole, Dims dims);

  ImplicitLocOpBuilder &b;
  Positions &positions;
  ElementValues &values;
  std::map<std::tuple<void *, int64_t, int64_t>, Value> tables;
  unsigned depth = 0;
};

} // namespace mlir::megactx::raise

#endif
