//===- Positions.h - proofs about positions ---------------------*- C++ -*-===//
//
// Owns the variables that mask elements are functions of, the sizes of tensors
// as symbols, what is known about both, and proofs about conditions on them for
// all sizes (by mlir::presburger).
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_POSITIONS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_POSITIONS_H

#include "Element.h"
#include "mlir/Analysis/Presburger/PresburgerRelation.h"

namespace mlir::megactx::raise {

/// Affine dimensions. Positions are in tokens; `kPlace` stands for a place
/// along an axis that is summed over.
enum Variable : unsigned { kBatch, kHead, kQuery, kKey, kPlace, kVariables };

class Positions {
public:
  explicit Positions(MLIRContext *context)
      : context(context), known(Condition::constant(true)) {}

  AffineExpr variable(Variable variable) const {
    return getAffineDimExpr(variable, context);
  }
  AffineExpr constant(int64_t value) const {
    return getAffineConstantExpr(value, context);
  }

  /// The symbol of a run-time size. Dimensions of the graph's inputs with one
  /// name are one number.
  AffineExpr size(Value tensor, int64_t dim);

  AffineExpr simplify(AffineExpr expr) const {
    return simplifyAffineExpr(expr, kVariables, symbols.size());
  }

  /// A tensor and a dimension per symbol, in order.
  ArrayRef<std::pair<Value, int64_t>> sizes() const { return symbols; }

  /// What holds at every place; sizes, batches, heads and keys are not negative
  /// without being told.
  /// Facts that are not affine are of no use and are dropped.
  void assume(const Condition &facts) {
    if (facts.kind() == Condition::Kind::And) {
      for (const Condition &fact : facts.args())
        assume(fact);
    } else if (toSet(facts)) {
      known = known && facts;
      everywhere.reset();
    }
  }
  void forget() {
    known = Condition::constant(true);
    everywhere.reset();
  }
  const Condition &facts() const { return known; }

  bool holds(const Condition &condition);
  bool isNonNegative(AffineExpr expr);

  /// An equal condition where it matters, with what is always or never true
  /// taken out.
  Condition simplify(const Condition &condition);

  /// The places where the condition holds, as far as facts are known; nothing
  /// for conditions that are not affine.
  std::optional<presburger::PresburgerSet> places(const Condition &condition);

  /// Variables and sizes at one of these places; nothing where there is none.
  std::optional<std::vector<int64_t>> sample(const Condition &condition);

private:
  std::optional<presburger::PresburgerSet> toSet(const Condition &condition);
  std::optional<presburger::PresburgerSet> domain();

  MLIRContext *context;
  Condition known;
  std::vector<Condition> literals; ///< that hold, while operands are simplified
  SmallVector<std::pair<Value, int64_t>> symbols;
  /// The places that what is known leaves, where they are asked for again.
  std::optional<presburger::PresburgerSet> everywhere;
  /// Variables and sizes at which something did not hold.
  std::vector<std::vector<int64_t>> points;
};

} // namespace mlir::megactx::raise

#endif
