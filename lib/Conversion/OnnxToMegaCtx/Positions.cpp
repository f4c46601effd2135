//===- Positions.cpp - proofs about positions -----------------------------===//

#include "Positions.h"
#include "Nodes.h"
#include "mlir/Analysis/FlatLinearValueConstraints.h"
#include "mlir/IR/IntegerSet.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace mlir::megactx::raise;
using presburger::PresburgerSet;

AffineExpr Positions::size(Value tensor, int64_t dim) {
  StringAttr name = dimName(tensor, dim);
  for (auto [i, symbol] : llvm::enumerate(symbols))
    if (symbol == std::pair(tensor, dim) ||
        (name && dimName(symbol.first, symbol.second) == name))
      return getAffineSymbolExpr(i, context);
  symbols.push_back({tensor, dim});
  return getAffineSymbolExpr(symbols.size() - 1, context);
}

std::optional<PresburgerSet> Positions::toSet(const Condition &condition) {
  auto space =
      presburger::PresburgerSpace::getSetSpace(kVariables, symbols.size());
  switch (condition.kind()) {
  case Condition::Kind::False:
    return PresburgerSet::getEmpty(space);
  case Condition::Kind::True:
    return PresburgerSet::getUniverse(space);
  case Condition::Kind::Runtime:
    return std::nullopt;
  case Condition::Kind::NonNegative:
  case Condition::Kind::Zero: {
    if (!condition.expr().isPureAffine())
      return std::nullopt;
    auto set = IntegerSet::get(kVariables, symbols.size(), condition.expr(),
                               condition.kind() == Condition::Kind::Zero);
    FlatLinearValueConstraints constraints(set);
    presburger::IntegerPolyhedron polyhedron = constraints;
    polyhedron.resetIds();
    return PresburgerSet(polyhedron);
  }
  case Condition::Kind::Not: {
    auto set = toSet(condition.args()[0]);
    return set ? std::optional(set->complement()) : std::nullopt;
  }
  case Condition::Kind::And:
  case Condition::Kind::Or: {
    std::optional<PresburgerSet> all;
    for (const Condition &arg : condition.args()) {
      auto set = toSet(arg);
      if (!set)
        return std::nullopt;
      if (!all)
        all = set;
      else
        all = condition.kind() == Condition::Kind::And ? all->intersect(*set)
                                                       : all->unionSet(*set);
    }
    return all;
  }
  }
  llvm_unreachable("every kind is handled above");
}

std::optional<PresburgerSet> Positions::domain() {
  if (everywhere && everywhere->getNumSymbolVars() == symbols.size())
    return everywhere;
  Condition all = known;
  for (Variable v : {kBatch, kHead, kKey, kPlace})
    all = all && Condition::nonNegative(variable(v));
  for (size_t i = 0; i < symbols.size(); ++i)
    all = all && Condition::nonNegative(getAffineSymbolExpr(i, context));
  return everywhere = toSet(all);
}

std::optional<PresburgerSet> Positions::places(const Condition &condition) {
  auto set = toSet(condition), all = domain();
  return set && all ? std::optional(set->intersect(*all)) : std::nullopt;
}

/// The value of an expression of variables and sizes; nothing where it is none.
static std::optional<int64_t> evaluate(AffineExpr expr,
                                       ArrayRef<int64_t> point) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return point[dim.getPosition()];
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return point[kVariables + symbol.getPosition()];
  auto binary = cast<AffineBinaryOpExpr>(expr);
  auto a = evaluate(binary.getLHS(), point),
       b = evaluate(binary.getRHS(), point);
  if (!a || !b)
    return std::nullopt;
  switch (binary.getKind()) {
  case AffineExprKind::Add:
    return llvm::checkedAdd(*a, *b);
  case AffineExprKind::Mul:
    return llvm::checkedMul(*a, *b);
  case AffineExprKind::FloorDiv:
    return *b > 0 ? std::optional(llvm::divideFloorSigned(*a, *b))
                  : std::nullopt;
  case AffineExprKind::Mod:
    return *b > 0 ? std::optional(llvm::mod(*a, *b)) : std::nullopt;
  default:
    return std::nullopt;
  }
}

/// Nothing for conditions of which that is not known.
static std::optional<bool> evaluate(const Condition &condition,
                                    ArrayRef<int64_t> point) {
  bool isAnd = condition.kind() == Condition::Kind::And;
  switch (condition.kind()) {
  case Condition::Kind::False:
  case Condition::Kind::True:
    return condition.isTrue();
  case Condition::Kind::Runtime:
    return std::nullopt;
  case Condition::Kind::NonNegative:
  case Condition::Kind::Zero: {
    if (!condition.expr().isPureAffine())
      return std::nullopt;
    auto value = evaluate(condition.expr(), point);
    if (!value)
      return std::nullopt;
    return condition.kind() == Condition::Kind::Zero ? *value == 0
                                                     : *value >= 0;
  }
  case Condition::Kind::Not: {
    auto value = evaluate(condition.args()[0], point);
    return value ? std::optional(!*value) : std::nullopt;
  }
  case Condition::Kind::And:
  case Condition::Kind::Or:
    for (const Condition &arg : condition.args())
      if (auto value = evaluate(arg, point); value != isAnd)
        return value;
    return isAnd;
  }
  llvm_unreachable("every kind is handled above");
}

/// The first numbers, or none where one of them is beyond all sizes.
static std::vector<int64_t> numbersOf(ArrayRef<llvm::DynamicAPInt> sample,
                                      size_t count) {
  constexpr int64_t most = int64_t(1) << 40;
  std::vector<int64_t> numbers;
  for (const llvm::DynamicAPInt &number : sample.take_front(count)) {
    if (llvm::abs(number) > most)
      return {};
    numbers.push_back(int64_t(number));
  }
  return numbers;
}

bool Positions::holds(const Condition &condition) {
  if (condition.isTrue() || condition.isFalse())
    return condition.isTrue();
  // Most of what does not hold fails where something else did.
  for (ArrayRef<int64_t> point : llvm::reverse(points))
    if (point.size() == kVariables + symbols.size() &&
        evaluate(condition, point) == false && evaluate(known, point) == true)
      return false;
  auto counter = places(!condition);
  if (!counter)
    return false;
  for (const presburger::IntegerRelation &part : counter->getAllDisjuncts())
    if (auto found = part.findIntegerSample()) {
      constexpr size_t kMostPoints = 64;
      if (points.size() == kMostPoints)
        points.erase(points.begin());
      points.push_back(numbersOf(*found, kVariables + symbols.size()));
      return false;
    }
  return true;
}

std::optional<std::vector<int64_t>>
Positions::sample(const Condition &condition) {
  auto set = places(condition);
  if (!set)
    return std::nullopt;
  for (const presburger::IntegerRelation &part : set->getAllDisjuncts())
    if (auto found = part.findIntegerSample())
      if (auto point = numbersOf(*found, kVariables + symbols.size());
          !point.empty())
        return point;
  return std::nullopt;
}

bool Positions::isNonNegative(AffineExpr expr) {
  if (expr.isPureAffine())
    return holds(Condition::nonNegative(expr));
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  return binary && isNonNegative(binary.getLHS()) &&
         isNonNegative(binary.getRHS());
}

Condition Positions::simplify(const Condition &condition) {
  if (holds(condition) || llvm::is_contained(literals, condition))
    return Condition::constant(true);
  if (holds(!condition) || llvm::is_contained(literals, !condition))
    return Condition::constant(false);
  auto kind = condition.kind();
  if (kind != Condition::Kind::And && kind != Condition::Kind::Or)
    return condition;
  // An operand counts only where those before it have not decided: first come
  // run-time values themselves, then what is known, then mixtures of both.
  auto order = [](const Condition &arg) {
    return arg.isRuntimeLiteral() ? 0 : arg.isStatic() ? 1 : 2;
  };
  Condition result = Condition::constant(kind == Condition::Kind::And);
  Condition before = known;
  size_t count = literals.size();
  for (int turn : {0, 1, 2})
    for (const Condition &arg : condition.args()) {
      if (order(arg) != turn)
        continue;
      Condition simple = simplify(arg);
      result =
          kind == Condition::Kind::And ? result && simple : result || simple;
      Condition open = kind == Condition::Kind::And ? simple : !simple;
      if (simple.isStatic())
        assume(open);
      else if (open.isRuntimeLiteral())
        literals.push_back(open);
    }
  known = before;
  everywhere.reset();
  literals.resize(count, Condition::constant(true));
  // A mixture that became known decides others.
  bool isSimpler = result != condition && !result.isStatic();
  return isSimpler ? simplify(result) : result;
}
