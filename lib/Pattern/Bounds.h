//===- Bounds.h - bounds of pieces as minima and maxima ---------*- C++ -*-===//
//
// Owns the form of bounds in which sums over rows are closed: minima and maxima
// of leaves, each affine in a along the rows u + T a, for a period T.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_BOUNDS_H
#define MEGACTX_LIB_PATTERN_BOUNDS_H

#include "megactx/Pattern/Expr.h"
#include "megactx/Pattern/Rows.h"

namespace mlir::megactx::pattern {

/// Moves min and max outwards over monotone operators.
Expr lifted(const Expr &e);

/// A bound on positions as a bound on key rows, with min and max outermost:
/// the first row at or after it.
Expr asKeyRow(const Expr &position, const Rows &rows);

/// Rows of a period that does not help.
constexpr int64_t kNoPeriod = int64_t(1) << 40;

/// Sums of counts do not fit into 64 bits on the way.
using Wide = __int128;

class Bounds {
public:
  /// Of expressions that `asKeyRow` gives.
  Bounds(llvm::ArrayRef<Expr> lo, llvm::ArrayRef<Expr> hi);

  /// Rows, `step` tokens apart, in a multiple of `queryPeriod`, after which
  /// every leaf has grown by whole periods of the keys; at least kNoPeriod
  /// where there are none.
  int64_t period(int64_t step, int64_t queryPeriod, int64_t keyPeriod) const;

  llvm::ArrayRef<Expr> getLeaves() const { return leaves; }

  /// The number of keys where leaf i has this rank.
  Wide count(llvm::ArrayRef<Wide> ranks) const;

private:
  struct Node {
    Expr::Kind kind;
    unsigned a, b; ///< children; of a leaf its number
  };

  unsigned add(const Expr &e);
  Wide combine(unsigned index, llvm::ArrayRef<Wide> ranks) const;

  std::vector<Expr> leaves;
  std::vector<Node> nodes;
  std::vector<std::pair<unsigned, bool>> roots;
};

} // namespace mlir::megactx::pattern

#endif
