//===- Formula.cpp - Boolean formulas over four kinds of atoms ------------===//

#include "megactx/Pattern/Formula.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/ErrorHandling.h"

using namespace mlir::megactx::pattern;

Formula Formula::make(Kind kind, Atom atom, std::vector<Formula> args) {
  llvm::hash_code hash = llvm::hash_combine(int(kind), hash_value(atom));
  for (const Formula &arg : args)
    hash = llvm::hash_combine(hash, arg.node->hash);
  return Formula(std::make_shared<const Node>(
      Node{kind, std::move(atom), std::move(args), hash}));
}

Formula::Formula(bool value)
    : Formula(make(value ? Kind::True : Kind::False, {}, {})) {}

static bool foldsTo(const Expr &expr, bool &value) {
  if (!expr.isConstant())
    return false;
  value = expr.value();
  return true;
}

Formula Formula::head(Expr test) {
  bool value;
  if (foldsTo(test, value))
    return Formula(value);
  return make(Kind::Atom, Atom{Atom::Kind::Head, 0, std::move(test)}, {});
}
Formula Formula::rowsBelow(int64_t bound) {
  return make(Kind::Atom, Atom{Atom::Kind::Row, bound, {}}, {});
}
Formula Formula::keysBelow(Expr cut) {
  return make(Kind::Atom, Atom{Atom::Kind::Cut, 0, std::move(cut)}, {});
}
Formula Formula::keysBetween(Expr lo, Expr hi) {
  Formula result(true);
  if (lo)
    result = result && !keysBelow(std::move(lo));
  if (hi)
    result = result && keysBelow(std::move(hi));
  return result;
}
Formula Formula::digit(int64_t period, Expr relation) {
  bool value;
  if (foldsTo(relation, value))
    return Formula(value);
  return make(Kind::Atom, Atom{Atom::Kind::Digit, period, std::move(relation)},
              {});
}
Formula Formula::test(Expr test) {
  bool value;
  if (foldsTo(test, value))
    return Formula(value);
  return make(Kind::Atom, Atom{Atom::Kind::Test, 0, std::move(test)}, {});
}

Formula Formula::operator&&(const Formula &other) const {
  if (isFalse() || other.isTrue() || *this == other)
    return *this;
  if (isTrue() || other.isFalse())
    return other;
  if (*this == !other)
    return Formula(false);
  return make(Kind::And, {}, {*this, other});
}
Formula Formula::operator||(const Formula &other) const {
  return !(!*this && !other);
}
Formula Formula::operator!() const {
  switch (kind()) {
  case Kind::True:
    return Formula(false);
  case Kind::False:
    return Formula(true);
  case Kind::Not:
    return args()[0];
  default:
    return make(Kind::Not, {}, {*this});
  }
}

static void collect(const Formula &formula, std::vector<Atom> &atoms) {
  if (formula.kind() == Formula::Kind::Atom) {
    if (!llvm::is_contained(atoms, formula.atom()))
      atoms.push_back(formula.atom());
    return;
  }
  for (const Formula &arg : formula.args())
    collect(arg, atoms);
}

std::vector<Atom> Formula::atoms() const {
  std::vector<Atom> result;
  collect(*this, result);
  return result;
}

Formula Formula::assume(const Atom &atom, bool value) const {
  switch (kind()) {
  case Kind::True:
  case Kind::False:
    return *this;
  case Kind::Atom:
    return this->atom() == atom ? Formula(value) : *this;
  case Kind::Not:
    return !args()[0].assume(atom, value);
  case Kind::And:
    return args()[0].assume(atom, value) && args()[1].assume(atom, value);
  }
  llvm_unreachable("every kind is handled above");
}

bool Formula::holds(const Point &point) const {
  switch (kind()) {
  case Kind::True:
    return true;
  case Kind::False:
    return false;
  case Kind::Not:
    return !args()[0].holds(point);
  case Kind::And:
    return args()[0].holds(point) && args()[1].holds(point);
  case Kind::Atom:
    break;
  }
  switch (atom().kind) {
  case Atom::Kind::Row:
    return point.p < atom().value;
  case Atom::Kind::Cut:
    return point.k < evaluate(atom().expr, point);
  default:
    return evaluate(atom().expr, point) != 0;
  }
}

Expr Formula::asExpr() const {
  switch (kind()) {
  case Kind::True:
    return Expr::constant(1);
  case Kind::False:
    return Expr::constant(0);
  case Kind::Not:
    return args()[0].asExpr().negated();
  case Kind::And:
    return args()[0].asExpr() && args()[1].asExpr();
  case Kind::Atom:
    break;
  }
  switch (atom().kind) {
  case Atom::Kind::Row:
    return Expr::position().less(Expr::constant(atom().value));
  case Atom::Kind::Cut:
    return Expr::key().less(atom().expr);
  default:
    return atom().expr;
  }
}

bool Formula::operator==(const Formula &other) const {
  if (node == other.node)
    return true;
  return node->hash == other.node->hash && kind() == other.kind() &&
         node->atom == other.node->atom && node->args == other.node->args;
}
