//===- Symbolic.h - conditions at all elements of a cell --------*- C++ -*-===//
//
// Owns the evaluation of expressions, formulas and pieces at the elements of a
// cell all at once: a value that the whole cell shares, or the condition that
// must be decided first.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_SYMBOLIC_H
#define MEGACTX_LIB_PATTERN_SYMBOLIC_H

#include "Affine.h"
#include "Residues.h"

namespace mlir::megactx::pattern {

/// The elements that are looked at.
struct Elements {
  Cell cell;
  Residues::State residues;
};

/// Evaluates at all elements at once. Each function gives nothing where
/// `undecided()` has to be decided first.
class Symbolic {
public:
  /// A condition that some elements meet and others do not: `form` >= 0, or a
  /// relation of residues.
  struct Decision {
    Linear form;
    std::optional<unsigned> relation;
  };

  Symbolic(Variables &variables, const Residues &residues)
      : variables(variables), residues(residues) {}

  void lookAt(const Elements &elements) { at = &elements; }
  const Decision &undecided() const { return pending; }
  /// A value that is not affine and was asked for; null if there was none.
  const Expr &freeValue() const { return unknown; }
  /// Whether a condition was too large to be looked into; answers after that
  /// prove nothing.
  bool hasOverflow() const { return overflow; }

  std::optional<bool> holds(const Formula &formula);
  /// `relation` is that of the piece's residues, if it has any.
  std::optional<bool> holds(const Piece &piece,
                            std::optional<unsigned> relation);

private:
  std::optional<bool> truth(const Expr &expr);
  std::optional<Linear> value(const Expr &expr);
  std::optional<Linear> extremum(const Expr &expr);
  std::optional<Linear> entry(const Expr &expr);
  std::optional<bool> equal(const Linear &a, const Linear &b);
  /// a >= b + slack.
  std::optional<bool> atLeast(const Linear &a, const Linear &b,
                              int64_t slack = 0);
  std::optional<bool> atLeast(const Expr &a, const Expr &b);
  std::optional<bool> related(unsigned relation);
  Linear free(const Expr &expr);

  Variables &variables;
  const Residues &residues;
  const Elements *at = nullptr;
  Decision pending;
  Expr unknown;
  bool overflow = false;
};

} // namespace mlir::megactx::pattern

#endif
