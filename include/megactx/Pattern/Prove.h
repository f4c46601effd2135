//===- Prove.h - proofs that pieces are a relation --------------*- C++ -*-===//
//
// Owns the proof, for all integers p and k, every head and every value of
// run-time symbols, that pieces are disjoint and that their union is a formula.
// Where positions stand and how many there are plays no part, so a proof holds
// for every length, step and offset.
//
// The plane of (p, k) is cut into cells by the affine conditions that formula
// and pieces ask about: bounds of rows and keys (with floordiv, mod, min and
// max by further variables and cases), choices of heads, tests. In each cell
// each condition is decided, and the pieces that hold are counted. A cell whose
// count is wrong is a fault where it holds an integer point
// (mlir::presburger). Two things are not affine:
//
//   Residues of pieces, and the relations they are made from, are tabulated
//   over one period: the combinations of relations that some pair (p mod m, k
//   mod m) has are the cases, and their pairs are only asked for where a cell
//   seems to be at fault. Other relations of residues are affine conditions.
//
//   Values that are not affine (hashes, operands, products of symbols) are
//   free variables, one for each expression. That is right for what must hold
//   for any value; a fault is reported only where the definitions of formula
//   and pieces confirm it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_PROVE_H
#define MEGACTX_PATTERN_PROVE_H

#include "megactx/Pattern/Piece.h"

namespace mlir::megactx::pattern {

/// A proof looks for integer points in at most so many cells (some 0.03 ms
/// each), and is not found where it would need more.
constexpr unsigned kMaxProofCells = 1 << 14;

/// An element whose number of pieces is not what the relation says.
struct Counterexample {
  int64_t p = 0, k = 0, h = 0, b = 0;
  std::map<std::string, int64_t, std::less<>> symbols;
  bool holds = false;  ///< the relation
  unsigned pieces = 0; ///< how many pieces hold

  /// Calls `visit` with the element.
  void at(llvm::function_ref<void(const Point &)> visit) const;
  /// `p = 3, k = 4, h = 0: the relation holds, but no piece does`.
  std::string str() const;
};

struct Proof {
  enum class Verdict { Proved, Refuted, NotProvable };
  Verdict verdict = Verdict::Proved;
  /// Of Refuted. Not negative, where there is such an element.
  Counterexample counterexample;
  std::string reason; ///< Of NotProvable.

  bool isProved() const { return verdict == Verdict::Proved; }
  bool isRefuted() const { return verdict == Verdict::Refuted; }
};

/// Whether each element of the formula is in one piece, and all others are in
/// none.
Proof prove(const Formula &formula, llvm::ArrayRef<Piece> pieces);

/// Whether the sources of a pattern, one for each of its key steps, show every
/// past token once and nothing of the future: each position 0 <= k <= p is of
/// exactly one row that a query at p sees, and no other position is of any. A
/// row of step s stands for s tokens and at the last of them. The pieces of a
/// counterexample are sources.
Proof proveExactlyOnce(const Pattern &pattern);

} // namespace mlir::megactx::pattern

#endif
