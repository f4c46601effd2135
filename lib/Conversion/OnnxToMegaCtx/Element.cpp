//===- Element.cpp - one element of a tensor, symbolically ----------------===//

#include "Element.h"
#include "Magnitudes.h"
#include "mlir/IR/TypeUtilities.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx::raise;

//===----------------------------------------------------------------------===//
// Condition
//===----------------------------------------------------------------------===//

Condition Condition::make(Node node) {
  Condition condition;
  condition.node = std::make_shared<const Node>(std::move(node));
  return condition;
}

Condition Condition::constant(bool value) {
  return make({value ? Kind::True : Kind::False, {}, {}, {}});
}

Condition Condition::nonNegative(AffineExpr expr) {
  if (auto number = dyn_cast<AffineConstantExpr>(expr))
    return constant(number.getValue() >= 0);
  return make({Kind::NonNegative, expr, {}, {}});
}

Condition Condition::zero(AffineExpr expr) {
  if (auto number = dyn_cast<AffineConstantExpr>(expr))
    return constant(number.getValue() == 0);
  return make({Kind::Zero, expr, {}, {}});
}

Condition Condition::runtime(Element element) {
  if (auto number = element.number())
    return constant(*number != 0);
  return make({Kind::Runtime,
               {},
               {},
               std::make_shared<const Element>(std::move(element))});
}

const Element &Condition::element() const { return *node->element; }

/// One flat list of distinct operands.
Condition Condition::join(Kind kind, const Condition &a, const Condition &b) {
  std::vector<Condition> args;
  for (const Condition *side : {&a, &b}) {
    if (side->kind() != kind) {
      if (!llvm::is_contained(args, *side))
        args.push_back(*side);
      continue;
    }
    for (const Condition &arg : side->args())
      if (!llvm::is_contained(args, arg))
        args.push_back(arg);
  }
  for (const Condition &arg : args)
    if (llvm::is_contained(args, !arg))
      return constant(kind == Kind::Or);
  if (args.size() == 1)
    return args.front();
  return make({kind, {}, std::move(args), {}});
}

Condition Condition::operator&&(const Condition &other) const {
  if (isTrue() || other.isFalse())
    return other;
  if (isFalse() || other.isTrue())
    return *this;
  return join(Kind::And, *this, other);
}

Condition Condition::operator||(const Condition &other) const {
  if (isFalse() || other.isTrue())
    return other;
  if (isTrue() || other.isFalse())
    return *this;
  return join(Kind::Or, *this, other);
}

Condition Condition::operator!() const {
  switch (kind()) {
  case Kind::False:
  case Kind::True:
    return constant(isFalse());
  case Kind::NonNegative:
    return nonNegative(-expr() - 1);
  case Kind::Zero:
  case Kind::Runtime:
    return make({Kind::Not, {}, {*this}, {}});
  case Kind::Not:
    return args()[0];
  case Kind::And:
  case Kind::Or: {
    Condition result = constant(kind() == Kind::Or);
    for (const Condition &arg : args())
      result = kind() == Kind::Or ? result && !arg : result || !arg;
    return result;
  }
  }
  llvm_unreachable("every kind is handled above");
}

Condition Condition::replace(AffineExpr variable, AffineExpr with) const {
  switch (kind()) {
  case Kind::NonNegative:
    return nonNegative(expr().replace(variable, with));
  case Kind::Zero:
    return zero(expr().replace(variable, with));
  case Kind::Not:
    return !args()[0].replace(variable, with);
  case Kind::And:
  case Kind::Or: {
    bool isAnd = kind() == Kind::And;
    Condition all = constant(isAnd);
    for (const Condition &arg : args()) {
      Condition next = arg.replace(variable, with);
      all = isAnd ? all && next : all || next;
    }
    return all;
  }
  default:
    return *this;
  }
}

void Condition::walk(llvm::function_ref<void(const Condition &)> visit) const {
  visit(*this);
  for (const Condition &arg : args())
    arg.walk(visit);
}

void Condition::walkReads(llvm::function_ref<void(Value)> visit) const {
  walk([&](const Condition &c) {
    if (c.kind() == Kind::Runtime)
      c.element().walkReads(visit);
  });
}

unsigned Condition::size(unsigned limit) const {
  unsigned total = 1;
  if (kind() == Kind::Runtime)
    total += element().size(limit);
  for (const Condition &arg : args())
    if (total <= limit)
      total += arg.size(limit - total);
  return total;
}

bool Condition::isStatic() const {
  bool isStatic = true;
  walk([&](const Condition &c) { isStatic &= c.kind() != Kind::Runtime; });
  return isStatic;
}

bool Condition::operator==(const Condition &other) const {
  if (node == other.node)
    return true;
  if (kind() != other.kind() || expr() != other.expr() ||
      args().size() != other.args().size())
    return false;
  if (kind() == Kind::Runtime)
    return element() == other.element();
  return llvm::equal(args(), other.args());
}

//===----------------------------------------------------------------------===//
// Element
//===----------------------------------------------------------------------===//

Element Element::make(Node node) {
  Element element;
  element.node = std::make_shared<const Node>(std::move(node));
  return element;
}

Element Element::integer(AffineExpr expr) {
  return make({Kind::Integer, 0, {expr}, {}, {}, {}});
}
Element Element::real(double value) {
  return make({Kind::Real, value, {}, {}, {}, {}});
}
Element Element::truth(Condition condition) {
  if (condition.isTrue() || condition.isFalse())
    return real(condition.isTrue());
  return make({Kind::Truth, 0, {}, {std::move(condition)}, {}, {}});
}
Element Element::choice(Condition condition, Element first, Element second) {
  if (condition.isTrue() || first == second)
    return first;
  if (condition.isFalse())
    return second;
  return make({Kind::Choice, 0, {}, {condition}, {first, second}, {}});
}
Element Element::read(Value tensor, ArrayRef<AffineExpr> indices) {
  return make({Kind::Read, 0, indices.vec(), {}, {}, tensor});
}

std::optional<double> Element::number() const {
  if (kind() == Kind::Real)
    return real();
  if (kind() == Kind::Integer)
    if (auto constant = dyn_cast<AffineConstantExpr>(expr()))
      return double(constant.getValue());
  return std::nullopt;
}

std::optional<AffineExpr> Element::integer() const {
  return kind() == Kind::Integer ? std::optional(expr()) : std::nullopt;
}

Condition Element::isNonZero() const {
  if (auto constant = number())
    return Condition::constant(*constant != 0);
  switch (kind()) {
  case Kind::Integer:
    return !Condition::zero(expr());
  case Kind::Truth:
    return condition();
  case Kind::Choice:
    return (condition() && first().isNonZero()) ||
           (!condition() && second().isNonZero());
  default:
    return Condition::runtime(*this);
  }
}

std::optional<Element> Element::map(
    llvm::function_ref<std::optional<Element>(const Element &)> f) const {
  if (kind() == Kind::Truth)
    return choice(condition(), Element::real(1), Element::real(0)).map(f);
  if (kind() != Kind::Choice)
    return f(*this);
  auto a = first().map(f), b = second().map(f);
  if (!a || !b)
    return std::nullopt;
  return choice(condition(), *a, *b);
}

unsigned Element::size(unsigned limit) const {
  unsigned total = 1;
  for (const Condition &condition : node->conditions)
    if (total <= limit)
      total += condition.size(limit - total);
  for (const Element &arg : node->args)
    if (total <= limit)
      total += arg.size(limit - total);
  return total;
}

bool Element::uses(unsigned variable) const {
  bool result = false;
  walkExprs([&](AffineExpr e) { result |= e.isFunctionOfDim(variable); });
  return result;
}

void Element::walkExprs(llvm::function_ref<void(AffineExpr)> visit) const {
  for (AffineExpr expr : indices())
    visit(expr);
  for (const Condition &condition : node->conditions)
    condition.walk([&](const Condition &c) {
      if (c.expr())
        visit(c.expr());
      if (c.kind() == Condition::Kind::Runtime)
        c.element().walkExprs(visit);
    });
  for (const Element &arg : node->args)
    arg.walkExprs(visit);
}

void Element::walkReads(llvm::function_ref<void(Value)> visit) const {
  if (kind() == Kind::Read)
    visit(tensor());
  for (const Condition &condition : node->conditions)
    condition.walkReads(visit);
  for (const Element &arg : node->args)
    arg.walkReads(visit);
}

bool Element::operator==(const Element &other) const {
  if (node == other.node)
    return true;
  if (auto a = number())
    return a == other.number();
  return kind() == other.kind() && indices() == other.indices() &&
         tensor() == other.tensor() &&
         node->conditions == other.node->conditions &&
         node->args == other.node->args;
}

//===----------------------------------------------------------------------===//
// Leaves
//===----------------------------------------------------------------------===//

static void addLeaves(const Element &element, const Condition &path,
                      SmallVectorImpl<Leaf> &leaves) {
  if (element.kind() == Element::Kind::Truth) {
    addLeaves(Element::choice(element.condition(), Element::real(1),
                              Element::real(0)),
              path, leaves);
  } else if (element.kind() == Element::Kind::Choice) {
    addLeaves(element.first(), path && element.condition(), leaves);
    addLeaves(element.second(), path && !element.condition(), leaves);
  } else {
    leaves.push_back({path, element});
  }
}

SmallVector<Leaf> mlir::megactx::raise::leavesOf(const Element &element) {
  SmallVector<Leaf> leaves;
  addLeaves(element, Condition::constant(true), leaves);
  return leaves;
}

std::pair<Condition, Condition>
mlir::megactx::raise::staticPartOf(const Condition &path) {
  std::pair<Condition, Condition> parts = {Condition::constant(true),
                                           Condition::constant(true)};
  ArrayRef<Condition> factors = ArrayRef(path);
  if (path.kind() == Condition::Kind::And)
    factors = path.args();
  for (const Condition &factor : factors) {
    Condition &part = factor.isStatic() ? parts.first : parts.second;
    part = part && factor;
  }
  return parts;
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

static std::optional<double> fold(Arithmetic op, double a, double b) {
  switch (op) {
  case Arithmetic::Add:
    return a + b;
  case Arithmetic::Sub:
    return a - b;
  case Arithmetic::Mul:
    return a * b;
  case Arithmetic::Div:
    return b == 0 ? std::nullopt : std::optional(a / b);
  case Arithmetic::Min:
    return std::min(a, b);
  case Arithmetic::Max:
    return std::max(a, b);
  case Arithmetic::Mod:
    return std::nullopt;
  }
  llvm_unreachable("every kind is handled above");
}

static std::optional<Element> combineIntegers(Arithmetic op, AffineExpr a,
                                              AffineExpr b) {
  auto divisor = dyn_cast<AffineConstantExpr>(b);
  Condition isLess = Condition::nonNegative(b - a - 1);
  switch (op) {
  case Arithmetic::Add:
    return Element::integer(a + b);
  case Arithmetic::Sub:
    return Element::integer(a - b);
  case Arithmetic::Mul:
    if (!a.isSymbolicOrConstant() && !b.isSymbolicOrConstant())
      return std::nullopt;
    return Element::integer(b.isSymbolicOrConstant() ? a * b : b * a);
  case Arithmetic::Mod:
    if (!divisor || divisor.getValue() <= 0)
      return std::nullopt;
    return Element::integer(a % divisor.getValue());
  case Arithmetic::Div:
    // ONNX rounds to zero: the same where nothing is negative.
    if (!divisor || divisor.getValue() <= 0)
      return std::nullopt;
    return Element::choice(
        Condition::nonNegative(a),
        Element::integer(a.floorDiv(divisor.getValue())),
        Element::integer(-((-a).floorDiv(divisor.getValue()))));
  case Arithmetic::Min:
    return Element::choice(isLess, Element::integer(a), Element::integer(b));
  case Arithmetic::Max:
    return Element::choice(isLess, Element::integer(b), Element::integer(a));
  }
  llvm_unreachable("every kind is handled above");
}

/// Whether a number is its sum with another: it is infinite, or so large that
/// no number beside it changes it; or, in the type that the sum has, that the
/// other is known not to.
static bool isSum(std::optional<double> number, const Element &other,
                  const std::optional<Element> &sum) {
  if (!number || std::isinf(*number) || *number <= -1e30)
    return number.has_value();
  auto type =
      sum ? dyn_cast<FloatType>(getElementTypeOrSelf(sum->tensor().getType()))
          : FloatType();
  return type &&
         swallows(*number, magnitudeOf(other), type.getFloatSemantics());
}

std::optional<Element>
mlir::megactx::raise::combine(Arithmetic op, const Element &a, const Element &b,
                              std::optional<Element> otherwise) {
  return a.map([&](const Element &x) {
    return b.map([&](const Element &y) -> std::optional<Element> {
      if (x.integer() && y.integer())
        if (auto element = combineIntegers(op, x.expr(), y.expr()))
          return element;
      auto m = x.number(), n = y.number();
      if (m && n)
        if (auto number = fold(op, *m, *n))
          return Element::real(*number);
      if (op == Arithmetic::Mul && (m == 0.0 || n == 1.0))
        return x;
      if (op == Arithmetic::Mul && (n == 0.0 || m == 1.0))
        return y;
      if ((op == Arithmetic::Add || op == Arithmetic::Sub) && n == 0.0)
        return x;
      if (op == Arithmetic::Add && m == 0.0)
        return y;
      if (op == Arithmetic::Add && isSum(m, y, otherwise))
        return x;
      if (op == Arithmetic::Add && isSum(n, x, otherwise))
        return y;
      // An integer among the reals, where the other is a whole number.
      auto whole = [&](const Element &e) -> std::optional<AffineExpr> {
        if (e.integer())
          return e.expr();
        auto number = e.number();
        const Element &other = &e == &x ? y : x;
        if (!number || !other.integer() || *number != std::floor(*number) ||
            std::abs(*number) > 1e15)
          return std::nullopt;
        return getAffineConstantExpr(int64_t(*number),
                                     other.expr().getContext());
      };
      auto p = whole(x), q = whole(y);
      if (p && q && op != Arithmetic::Div)
        if (auto element = combineIntegers(op, *p, *q))
          return element;
      return otherwise;
    });
  });
}

static std::optional<Condition> compareLeaves(Comparison op, const Element &a,
                                              const Element &b) {
  auto m = a.number(), n = b.number();
  if (m && n)
    switch (op) {
    case Comparison::Equal:
      return Condition::constant(*m == *n);
    case Comparison::Less:
      return Condition::constant(*m < *n);
    case Comparison::LessOrEqual:
      return Condition::constant(*m <= *n);
    case Comparison::Greater:
      return Condition::constant(*m > *n);
    case Comparison::GreaterOrEqual:
      return Condition::constant(*m >= *n);
    }
  if (op == Comparison::Equal && (m == 0.0 || n == 0.0))
    return !(m ? b : a).isNonZero();
  // Differences of integers, where one may be written as a real.
  auto difference = combine(Arithmetic::Sub, a, b);
  if (!difference || !difference->integer())
    return std::nullopt;
  AffineExpr d = difference->expr();
  switch (op) {
  case Comparison::Equal:
    return Condition::zero(d);
  case Comparison::Less:
    return Condition::nonNegative(-d - 1);
  case Comparison::LessOrEqual:
    return Condition::nonNegative(-d);
  case Comparison::Greater:
    return Condition::nonNegative(d - 1);
  case Comparison::GreaterOrEqual:
    return Condition::nonNegative(d);
  }
  llvm_unreachable("every comparison is handled above");
}

std::optional<Condition>
mlir::megactx::raise::compare(Comparison op, const Element &a, const Element &b,
                              std::optional<Element> otherwise) {
  auto truth = a.map([&](const Element &x) {
    return b.map([&](const Element &y) -> std::optional<Element> {
      auto condition = compareLeaves(op, x, y);
      return condition ? std::optional(Element::truth(*condition)) : otherwise;
    });
  });
  return truth ? std::optional(truth->isNonZero()) : std::nullopt;
}
