//===- Formula.h - Boolean formulas over four kinds of atoms ----*- C++ -*-===//
//
// Owns the form into which every named pattern is translated and from which
// pieces are expanded. Knows no pattern by name.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_FORMULA_H
#define MEGACTX_PATTERN_FORMULA_H

#include "megactx/Pattern/Expr.h"

namespace mlir::megactx::pattern {

/// One atom of a formula; see the essay in Pattern.h.
struct Atom {
  enum class Kind {
    Head,  ///< a 0/1 expression of the head h alone
    Row,   ///< p < bound
    Cut,   ///< k < expr, expr non-decreasing in p
    Digit, ///< a 0/1 expression of (p mod period, k mod period) alone
    Test   ///< any 0/1 expression of p, k, b, h
  };
  Kind kind;
  int64_t value = 0; ///< Row: the bound, tokens. Digit: the period, tokens.
  Expr expr;

  bool operator==(const Atom &other) const {
    return kind == other.kind && value == other.value && expr == other.expr;
  }
  friend llvm::hash_code hash_value(const Atom &atom) {
    return llvm::hash_combine(int(atom.kind), atom.value, atom.expr);
  }
};

/// An immutable Boolean formula, shared by value, simplified as it is built.
class Formula {
public:
  enum class Kind { False, True, Atom, Not, And };

  Formula() : Formula(true) {}
  explicit Formula(bool value);

  static Formula head(Expr test);
  static Formula rowsBelow(int64_t bound);
  static Formula keysBelow(Expr cut);
  /// lo <= k < hi; a null bound is open.
  static Formula keysBetween(Expr lo, Expr hi);
  static Formula digit(int64_t period, Expr relation);
  static Formula test(Expr test);

  Formula operator&&(const Formula &other) const;
  Formula operator||(const Formula &other) const;
  Formula operator!() const;
  Formula minus(const Formula &other) const { return *this && !other; }

  Kind kind() const { return node->kind; }
  bool isTrue() const { return kind() == Kind::True; }
  bool isFalse() const { return kind() == Kind::False; }
  const Atom &atom() const { return node->atom; }
  llvm::ArrayRef<Formula> args() const { return node->args; }

  /// The distinct atoms, in order of first appearance.
  std::vector<Atom> atoms() const;

  /// The formula where `atom` is known to be `value`.
  Formula assume(const Atom &atom, bool value) const;

  /// Whether the relation holds at a point. The slow reference of all tests.
  bool holds(const Point &point) const;

  /// The same as one 0/1 expression.
  Expr asExpr() const;

  bool operator==(const Formula &other) const;

private:
  struct Node {
    Kind kind;
    Atom atom;
    std::vector<Formula> args;
    llvm::hash_code hash;
  };
  explicit Formula(std::shared_ptr<const Node> node) : node(std::move(node)) {}
  static Formula make(Kind kind, Atom atom, std::vector<Formula> args);
  std::shared_ptr<const Node> node;
};

} // namespace mlir::megactx::pattern

#endif
