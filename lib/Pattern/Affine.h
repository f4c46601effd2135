//===- Affine.h - cells of affine conditions --------------------*- C++ -*-===//
//
// Owns linear forms over positions and what is derived from them, and sets of
// integer points that bounds on such forms describe. Emptiness and samples are
// mlir::presburger's.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_AFFINE_H
#define MEGACTX_LIB_PATTERN_AFFINE_H

#include "megactx/Pattern/Expr.h"
#include "mlir/Analysis/Presburger/IntegerRelation.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace mlir::megactx::pattern {

/// A sum of variables times coefficients, plus a constant.
struct Linear {
  /// Ascending variables with coefficients that are not 0.
  llvm::SmallVector<std::pair<unsigned, int64_t>, 4> terms;
  int64_t constant = 0;

  bool isConstant() const { return terms.empty(); }
  bool operator==(const Linear &o) const {
    return terms == o.terms && constant == o.constant;
  }
};

/// Null where a coefficient does not fit into 64 bits.
std::optional<Linear> add(const Linear &a, const Linear &b);
std::optional<Linear> scale(const Linear &a, int64_t factor);
/// a - b - slack.
std::optional<Linear> difference(const Linear &a, const Linear &b,
                                 int64_t slack = 0);

/// What the variables of linear forms stand for. The first two are p and k.
class Variables {
public:
  static constexpr unsigned kQuery = 0, kKey = 1;
  struct Variable {
    Expr value;      ///< the value of this expression; or, where null,
    Linear dividend; ///< floor(dividend / divisor)
    int64_t divisor = 0;
  };

  Variables();
  /// The variable that stands for the value of an expression.
  Linear valueOf(const Expr &expr);
  std::optional<Linear> floorDiv(const Linear &dividend, int64_t divisor);

  llvm::ArrayRef<Variable> all() const { return variables; }
  /// A position, a head, a batch or a symbol: not negative in a nice sample.
  bool isPlain(unsigned variable) const;

private:
  std::vector<Variable> variables;
};

/// A value for each of the variables, 0 for those that do not matter.
using Values = std::vector<int64_t>;

/// Integer points within bounds on linear forms.
class Cell {
public:
  /// Whether `form` >= 0 at every point or at no point, where that follows from
  /// one bound.
  std::optional<bool> isNonNegative(const Linear &form) const;
  /// Keeps the points where `form` >= 0, or where it is not.
  void keep(const Linear &form, bool nonNegative);
  /// Keeps the points where variable mod period = residue.
  void keepResidue(unsigned variable, int64_t period, int64_t residue) {
    residues.push_back({variable, period, residue});
  }

  bool isEmpty(const Variables &variables) const;
  /// Some point; one without negative plain variables, where there is one, and
  /// then one with the least p. Nothing where no point fits into 64 bits.
  std::optional<Values> sample(const Variables &variables) const;

private:
  struct Bound {
    Linear form; ///< no constant, no common divisor, first coefficient > 0
    std::optional<int64_t> low, high;
  };
  struct Residue {
    unsigned variable;
    int64_t period, residue;
  };
  struct Polyhedron;
  Polyhedron polyhedron(const Variables &variables) const;

  std::vector<Bound> bounds;
  std::vector<Residue> residues;
};

} // namespace mlir::megactx::pattern

#endif
