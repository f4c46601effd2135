//===- SettledElements.cpp - elements in fewer words ----------------------===//
//
// What is moved through many nodes is a choice of choices, most of which others
// around them have made, at places that are written as divisions and remainders
// of others. What all of it comes to is found by proofs, not by rewriting.
//
//===----------------------------------------------------------------------===//

#include "ElementValues.h"

using namespace mlir;
using namespace mlir::megactx::raise;

/// The variable, zero or preferred index that an index is, where it is written
/// otherwise.
AffineExpr ElementValues::settled(AffineExpr index) {
  if (isa<AffineConstantExpr, AffineDimExpr, AffineSymbolExpr>(index) ||
      !index.isPureAffine())
    return index;
  Place others(preferred);
  for (unsigned v = 0; v < kVariables; ++v)
    if (index.isFunctionOfDim(v))
      others.push_back(positions.variable(Variable(v)));
  others.push_back(positions.constant(0));
  for (AffineExpr other : others)
    if (index == other || positions.holds(Condition::zero(index - other)))
      return other;
  return positions.simplify(index);
}

Condition ElementValues::settled(const Condition &condition) {
  switch (condition.kind()) {
  case Condition::Kind::Runtime:
    return settled(condition.element()).isNonZero();
  case Condition::Kind::NonNegative:
  case Condition::Kind::Zero: {
    if (!condition.expr().isPureAffine())
      return condition;
    AffineExpr expr = positions.simplify(condition.expr());
    return condition.kind() == Condition::Kind::Zero
               ? Condition::zero(expr)
               : Condition::nonNegative(expr);
  }
  case Condition::Kind::Not:
    return !settled(condition.args()[0]);
  case Condition::Kind::And:
  case Condition::Kind::Or: {
    bool isAnd = condition.kind() == Condition::Kind::And;
    Condition all = Condition::constant(isAnd);
    for (const Condition &arg : condition.args())
      all = isAnd ? all && settled(arg) : all || settled(arg);
    return all;
  }
  default:
    return condition;
  }
}

Element ElementValues::settled(const Element &element) {
  if (element.kind() == Element::Kind::Read) {
    Place indices;
    for (AffineExpr index : element.indices())
      indices.push_back(settled(index));
    Element read = Element::read(element.tensor(), indices);
    if (read == element)
      return element;
    // What is known here may say more of its place.
    auto found = std::exchange(elements, {});
    Element nearer = at(element.tensor(), indices);
    elements = std::move(found);
    return nearer == read ? read : settled(nearer);
  }
  if (element.kind() == Element::Kind::Truth)
    return Element::truth(positions.simplify(settled(element.condition())));
  if (element.kind() != Element::Kind::Choice)
    return element;
  Condition condition = positions.simplify(settled(element.condition()));
  for (const Condition &other : decided)
    if (condition == other || condition == !other)
      return settled(condition == other ? element.first() : element.second());
  if (condition.isTrue() || condition.isFalse())
    return settled(condition.isTrue() ? element.first() : element.second());
  Condition facts = positions.facts();
  auto under = [&](const Condition &path, const Element &own) {
    positions.assume(path);
    decided.push_back(path);
    Element result = settled(own);
    decided.pop_back();
    positions.forget();
    positions.assume(facts);
    return result;
  };
  Element first = under(condition, element.first());
  return Element::choice(condition, first, under(!condition, element.second()));
}
