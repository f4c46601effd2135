//===- IndexExpr.h - symbolic shape arithmetic ------------------*- C++ -*-===//
//
// Polynomials with integer coefficients over run-time index values. The
// conversion from ONNX keeps every dimension, and every element of a small
// integer tensor, in this form: two dimensions are equal where their normal
// forms are, types get the static sizes that follow, and the arithmetic on
// shapes that exporters write as tensors of nodes comes out as a few index
// operations or as nothing at all.
//
// What is no polynomial (a quotient, a minimum, a choice) is emitted once and
// becomes an atom; the same operation on the same operands gives the same atom.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_INDEXEXPR_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_INDEXEXPR_H

#include "mlir/IR/Builders.h"
#include <map>
#include <optional>
#include <vector>

namespace mlir::megactx {

/// A polynomial: monomials (sorted atom numbers) with their coefficients, none
/// zero. Coefficients wrap on overflow.
class IndexExpr {
public:
  using Monomial = std::vector<unsigned>;

  IndexExpr() = default;
  IndexExpr(int64_t constant) {
    if (constant)
      terms[{}] = constant;
  }
  static IndexExpr atom(unsigned number) { return term({number}, 1); }
  static IndexExpr term(Monomial monomial, int64_t coefficient);

  /// The value, where it is a constant.
  std::optional<int64_t> constant() const;
  bool is(int64_t value) const { return constant() == value; }
  const std::map<Monomial, int64_t> &getTerms() const { return terms; }

  friend IndexExpr operator+(const IndexExpr &a, const IndexExpr &b);
  friend IndexExpr operator-(const IndexExpr &a, const IndexExpr &b);
  friend IndexExpr operator*(const IndexExpr &a, const IndexExpr &b);
  friend bool operator==(const IndexExpr &a, const IndexExpr &b) {
    return a.terms == b.terms;
  }
  friend bool operator!=(const IndexExpr &a, const IndexExpr &b) {
    return !(a == b);
  }
  friend bool operator<(const IndexExpr &a, const IndexExpr &b) {
    return a.terms < b.terms;
  }

private:
  void add(const Monomial &monomial, int64_t coefficient);
  std::map<Monomial, int64_t> terms;
};

inline int64_t wrapMul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) *
                              static_cast<uint64_t>(b));
}
inline int64_t wrapAdd(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) +
                              static_cast<uint64_t>(b));
}

/// Rounds towards minus infinity; the divisor is not zero.
inline int64_t floorDivide(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

/// 1 where there are none.
IndexExpr product(ArrayRef<IndexExpr> factors);

enum class Compare { Eq, Ne, Lt, Le, Gt, Ge };

/// The atoms of one function and the code that computes expressions. Code is
/// emitted at the builder's insertion point, which must only move forward in
/// one block, and, within a scope, in a block inside.
class IndexSpace {
public:
  explicit IndexSpace(OpBuilder &builder) : b(builder) {}

  /// While it lives, code is emitted in a block inside of the one before. No
  /// code after it uses what was computed there.
  class Scope {
  public:
    explicit Scope(IndexSpace &space)
        : space(space), atoms(space.atoms.size()), dims(space.newDims.size()),
          made(space.newMade.size()), computed(space.newComputed.size()) {}
    Scope(const Scope &) = delete;
    ~Scope() { space.leave(*this); }
    /// Whether the expression is one of values from before the scope.
    bool isOutside(const IndexExpr &expr) const;

  private:
    friend class IndexSpace;
    IndexSpace &space;
    size_t atoms, dims, made, computed;
  };

  /// The atom for an index value; `lower` is a bound known for it.
  IndexExpr symbol(Value value, std::optional<int64_t> lower);

  /// Dimension `dim` of a tensor: its static size or the atom of a tensor.dim.
  IndexExpr dimOf(Location loc, Value tensor, int64_t dim);

  /// A proven lower bound, where there is one.
  std::optional<int64_t> lowerBound(const IndexExpr &expr) const;
  bool isNonNegative(const IndexExpr &expr) const {
    auto bound = lowerBound(expr);
    return bound && *bound >= 0;
  }

  /// a / b where b divides a as polynomials.
  std::optional<IndexExpr> exactQuotient(const IndexExpr &a,
                                         const IndexExpr &b) const;
  IndexExpr floorDiv(Location loc, const IndexExpr &a, const IndexExpr &b);
  IndexExpr mod(Location loc, const IndexExpr &a, const IndexExpr &b);
  IndexExpr min(Location loc, const IndexExpr &a, const IndexExpr &b);
  IndexExpr max(Location loc, const IndexExpr &a, const IndexExpr &b);
  /// 1 where the comparison holds and 0 elsewhere.
  IndexExpr compare(Location loc, Compare kind, const IndexExpr &a,
                    const IndexExpr &b);
  IndexExpr select(Location loc, const IndexExpr &condition, const IndexExpr &a,
                   const IndexExpr &b);

  /// The comparison's result, where it is the same for all values of the atoms.
  std::optional<bool> decide(Compare kind, const IndexExpr &a,
                             const IndexExpr &b) const;

  /// Whether the first is min(second, c) with a constant c above 1, such as the
  /// rows that a slice takes out of a table: where one of both is 1, so is the
  /// other.
  bool isCapped(const IndexExpr &capped, const IndexExpr &whole) const;

  Value value(Location loc, const IndexExpr &expr);
  /// An i1 that is true where the expression is not zero.
  Value condition(Location loc, const IndexExpr &expr);
  OpFoldResult fold(Location loc, const IndexExpr &expr);
  SmallVector<OpFoldResult> fold(Location loc, ArrayRef<IndexExpr> exprs);
  SmallVector<Value> values(Location loc, ArrayRef<IndexExpr> exprs);

private:
  enum class Op { FloorDiv, Mod, Min, Max, Eq, Ne, Lt, Le, Gt, Ge, Select };
  using Key = std::pair<Op, std::vector<IndexExpr>>;

  IndexExpr derived(Op op, std::vector<IndexExpr> operands,
                    std::optional<int64_t> lower,
                    llvm::function_ref<Value()> build);

  IndexExpr floorDivByNumber(Location loc, const IndexExpr &a, int64_t d);
  std::optional<int64_t> termwiseBound(const IndexExpr &expr) const;
  std::optional<IndexExpr> withoutQuotient(const IndexExpr &expr,
                                           unsigned quotient) const;
  std::optional<unsigned> quotientToBound(const IndexExpr &expr) const;

  void leave(const Scope &scope);

  OpBuilder &b;
  SmallVector<Value> atoms;
  SmallVector<std::optional<int64_t>> lowers;
  DenseMap<Value, unsigned> numbers;
  /// By atom: what it is the quotient of, by which number, rounded down.
  std::map<unsigned, std::pair<IndexExpr, int64_t>> quotients;
  DenseMap<std::pair<Value, int64_t>, Value> dims;
  std::map<Key, IndexExpr> made;
  std::map<IndexExpr, Value> computed;
  /// What the maps hold in the order in which it came, for scopes.
  std::vector<std::pair<Value, int64_t>> newDims;
  std::vector<std::map<Key, IndexExpr>::iterator> newMade;
  std::vector<std::map<IndexExpr, Value>::iterator> newComputed;
};

} // namespace mlir::megactx

#endif
