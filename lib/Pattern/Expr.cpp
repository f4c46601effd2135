//===- Expr.cpp - integer expressions over positions ----------------------===//

#include "megactx/Pattern/Expr.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>
#include <numeric>

using namespace mlir::megactx::pattern;

Expr Expr::make(Kind kind, int64_t value, std::vector<Expr> args,
                llvm::StringRef name, std::vector<int64_t> table) {
  auto node = std::make_shared<Node>();
  node->kind = kind;
  node->value = value;
  node->name = name.str();
  node->table = std::move(table);
  node->args = std::move(args);
  llvm::hash_code hash = llvm::hash_combine(
      static_cast<int>(kind), value, llvm::StringRef(node->name),
      llvm::hash_combine_range(node->table.begin(), node->table.end()));
  node->kinds = uint32_t(1) << static_cast<int>(kind);
  for (const Expr &arg : node->args) {
    hash = llvm::hash_combine(hash, hash_value(arg));
    node->kinds |= arg.node ? arg.node->kinds : 0;
  }
  node->hash = hash;
  Expr expr;
  expr.node = std::move(node);
  return expr;
}

Expr Expr::constant(int64_t value) { return make(Kind::Constant, value, {}); }
Expr Expr::position() { return make(Kind::Position, 0, {}); }
Expr Expr::key() { return make(Kind::Key, 0, {}); }
Expr Expr::head() { return make(Kind::Head, 0, {}); }
Expr Expr::batch() { return make(Kind::Batch, 0, {}); }
Expr Expr::symbol(llvm::StringRef name) {
  return make(Kind::Symbol, 0, {}, name);
}
Expr Expr::operand(llvm::StringRef name, Expr row) {
  return make(Kind::Operand, 0, {std::move(row)}, name);
}
Expr Expr::hash(int64_t seed, Expr a, Expr b) {
  return make(Kind::Hash, seed, {std::move(a), std::move(b)});
}
Expr Expr::table(std::vector<int64_t> values, Expr index) {
  return make(Kind::Table, 0, {std::move(index)}, "", std::move(values));
}
Expr Expr::in(Expr value, std::vector<int64_t> sorted) {
  return make(Kind::In, 0, {std::move(value)}, "", std::move(sorted));
}

Expr Expr::operator+(const Expr &other) const {
  if (isConstant() && other.isConstant())
    return constant(value() + other.value());
  if (other.isConstant(0))
    return *this;
  if (isConstant(0))
    return other;
  // Constants gather at the right: (x + 1) + 2 is x + 3.
  if (other.isConstant() && kind() == Kind::Add && args()[1].isConstant())
    return args()[0] + constant(args()[1].value() + other.value());
  if (isConstant())
    return other + *this;
  return make(Kind::Add, 0, {*this, other});
}
Expr Expr::operator-(const Expr &other) const { return *this + other * -1; }
Expr Expr::operator*(int64_t factor) const {
  if (isConstant())
    return constant(value() * factor);
  if (factor == 0)
    return constant(0);
  return factor == 1 ? *this : make(Kind::Mul, factor, {*this});
}
Expr Expr::operator*(const Expr &factor) const {
  if (factor.isConstant())
    return *this * factor.value();
  return isConstant() ? factor * value()
                      : make(Kind::MulExpr, 0, {*this, factor});
}
Expr Expr::floorDiv(int64_t divisor) const {
  if (isConstant())
    return constant(floorDivide(value(), divisor));
  return divisor == 1 ? *this : make(Kind::FloorDiv, divisor, {*this});
}
Expr Expr::mod(int64_t divisor) const {
  if (isConstant())
    return constant(floorMod(value(), divisor));
  return divisor == 1 ? constant(0) : make(Kind::Mod, divisor, {*this});
}
Expr Expr::floorDiv(const Expr &divisor) const {
  return divisor.isConstant() ? floorDiv(std::max<int64_t>(divisor.value(), 1))
                              : make(Kind::DivExpr, 0, {*this, divisor});
}
Expr Expr::mod(const Expr &divisor) const {
  return divisor.isConstant() ? mod(std::max<int64_t>(divisor.value(), 1))
                              : make(Kind::ModExpr, 0, {*this, divisor});
}
Expr Expr::min(const Expr &a, const Expr &b) {
  if (a.isConstant() && b.isConstant())
    return constant(std::min(a.value(), b.value()));
  return a == b ? a : make(Kind::Min, 0, {a, b});
}
Expr Expr::max(const Expr &a, const Expr &b) {
  if (a.isConstant() && b.isConstant())
    return constant(std::max(a.value(), b.value()));
  return a == b ? a : make(Kind::Max, 0, {a, b});
}
Expr Expr::equals(const Expr &other) const {
  if (isConstant() && other.isConstant())
    return constant(value() == other.value());
  return make(Kind::Equal, 0, {*this, other});
}
Expr Expr::less(const Expr &other) const {
  if (isConstant() && other.isConstant())
    return constant(value() < other.value());
  return make(Kind::Less, 0, {*this, other});
}
Expr Expr::operator&&(const Expr &other) const {
  if (!node || isConstant(1))
    return other;
  if (!other || other.isConstant(1) || isConstant(0))
    return *this;
  return other.isConstant(0) ? other : make(Kind::And, 0, {*this, other});
}
Expr Expr::operator||(const Expr &other) const {
  if (isConstant(0) || other.isConstant(1))
    return other;
  if (other.isConstant(0) || isConstant(1))
    return *this;
  return make(Kind::Or, 0, {*this, other});
}
Expr Expr::negated() const {
  if (isConstant())
    return constant(!value());
  return kind() == Kind::Not ? args()[0] : make(Kind::Not, 0, {*this});
}

Expr Expr::substitute(llvm::function_ref<Expr(const Expr &)> replace) const {
  if (Expr other = replace(*this))
    return other;
  std::vector<Expr> to;
  bool constant = !args().empty();
  for (const Expr &arg : args()) {
    to.push_back(arg.substitute(replace));
    constant &= to.back().isConstant();
  }
  if (to == node->args)
    return *this;
  switch (kind()) {
  case Kind::Add:
    return to[0] + to[1];
  case Kind::Mul:
    return to[0] * value();
  case Kind::MulExpr:
    return to[0] * to[1];
  case Kind::FloorDiv:
    return to[0].floorDiv(value());
  case Kind::DivExpr:
    return to[0].floorDiv(to[1]);
  case Kind::Mod:
    return to[0].mod(value());
  case Kind::ModExpr:
    return to[0].mod(to[1]);
  case Kind::And:
    return to[0] && to[1];
  case Kind::Or:
    return to[0] || to[1];
  default:
    break;
  }
  Expr rebuilt = make(kind(), value(), std::move(to), name(), table().vec());
  return constant && kind() != Kind::Operand
             ? Expr::constant(evaluate(rebuilt, Point()))
             : rebuilt;
}

bool Expr::operator==(const Expr &other) const {
  if (node == other.node)
    return true;
  if (!node || !other.node || node->hash != other.node->hash)
    return false;
  return node->kind == other.node->kind && node->value == other.node->value &&
         node->name == other.node->name && node->table == other.node->table &&
         node->args == other.node->args;
}

uint32_t mlir::megactx::pattern::hashPair(uint32_t seed, uint32_t a,
                                          uint32_t b) {
  uint32_t x = seed ^ (a * 0x9E3779B1u) ^ (b * 0x85EBCA77u);
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  return (x ^ (x >> 16)) >> 1;
}

int64_t mlir::megactx::pattern::applyOperator(Expr::Kind kind, int64_t value,
                                              llvm::ArrayRef<int64_t> table,
                                              int64_t a, int64_t b) {
  // Wrapping arithmetic: an absurd size is answered, not undefined.
  auto wrap = [](uint64_t value) { return static_cast<int64_t>(value); };
  switch (kind) {
  case Expr::Kind::Add:
    return wrap(uint64_t(a) + uint64_t(b));
  case Expr::Kind::Mul:
    return wrap(uint64_t(a) * uint64_t(value));
  case Expr::Kind::MulExpr:
    return wrap(uint64_t(a) * uint64_t(b));
  case Expr::Kind::FloorDiv:
    return floorDivide(a, value);
  case Expr::Kind::Mod:
    return floorMod(a, value);
  case Expr::Kind::DivExpr:
    return floorDivide(a, std::max<int64_t>(b, 1));
  case Expr::Kind::ModExpr:
    return floorMod(a, std::max<int64_t>(b, 1));
  case Expr::Kind::Min:
    return std::min(a, b);
  case Expr::Kind::Max:
    return std::max(a, b);
  case Expr::Kind::Equal:
    return a == b;
  case Expr::Kind::Less:
    return a < b;
  case Expr::Kind::And:
    return a && b;
  case Expr::Kind::Or:
    return a || b;
  case Expr::Kind::Not:
    return !a;
  case Expr::Kind::Hash:
    return hashPair(uint32_t(value), uint32_t(a), uint32_t(b));
  case Expr::Kind::Table:
    return a >= 0 && a < int64_t(table.size()) ? table[a] : 0;
  case Expr::Kind::In:
    return std::binary_search(table.begin(), table.end(), a);
  default:
    llvm_unreachable("leaves have no operands");
  }
}

int64_t mlir::megactx::pattern::blockOf(const Expr &expr, Expr::Kind leaf) {
  if (!expr.uses(leaf))
    return kWhole;
  if (expr.kind() == leaf)
    return 1;
  // A quotient of the leaf, of its quotients, ...
  const Expr *x = &expr;
  int64_t divisor = 1;
  for (; x->kind() == Expr::Kind::FloorDiv; x = &x->args()[0])
    if (llvm::MulOverflow(divisor, x->value(), divisor))
      return 1;
  if (x->kind() == leaf)
    return divisor;
  int64_t block = 0;
  for (const Expr &arg : expr.args())
    if (arg.uses(leaf))
      block = std::gcd(block, blockOf(arg, leaf));
  return block;
}

int64_t mlir::megactx::pattern::evaluate(const Expr &expr, const Point &at) {
  auto arg = [&](unsigned i) { return evaluate(expr.args()[i], at); };
  switch (expr.kind()) {
  case Expr::Kind::Constant:
    return expr.value();
  case Expr::Kind::Position:
    return at.p;
  case Expr::Kind::Key:
    return at.k;
  case Expr::Kind::Head:
    return at.h;
  case Expr::Kind::Batch:
    return at.b;
  case Expr::Kind::Symbol:
    return at.symbol ? at.symbol(expr.name()) : 0;
  case Expr::Kind::Operand:
    return at.operand ? at.operand(expr.name(), arg(0)) : 0;
  case Expr::Kind::And:
    return arg(0) && arg(1);
  case Expr::Kind::Or:
    return arg(0) || arg(1);
  default:
    return applyOperator(expr.kind(), expr.value(), expr.table(), arg(0),
                         expr.args().size() > 1 ? arg(1) : 0);
  }
}

/// Infix with every compound operand in parentheses, so that reading back needs
/// no table of precedences.
void Expr::print(llvm::raw_ostream &os) const {
  auto operand = [&](const Expr &e) {
    bool infix = false;
    switch (e.kind()) {
    case Kind::Add:
    case Kind::Mul:
    case Kind::MulExpr:
    case Kind::FloorDiv:
    case Kind::DivExpr:
    case Kind::Mod:
    case Kind::ModExpr:
    case Kind::Equal:
    case Kind::Less:
    case Kind::And:
    case Kind::Or:
      infix = true;
      break;
    default:
      break;
    }
    os << (infix ? "(" : "");
    e.print(os);
    os << (infix ? ")" : "");
  };
  auto binary = [&](llvm::StringRef symbol) {
    operand(args()[0]);
    os << ' ' << symbol << ' ';
    operand(args()[1]);
  };
  auto withValue = [&](llvm::StringRef symbol) {
    operand(args()[0]);
    os << ' ' << symbol << ' ' << value();
  };
  auto call = [&](llvm::StringRef function) {
    os << function << '(';
    llvm::interleaveComma(args(), os, [&](const Expr &e) { e.print(os); });
    os << ')';
  };
  switch (kind()) {
  case Kind::Constant:
    os << value();
    return;
  case Kind::Position:
    os << 'p';
    return;
  case Kind::Key:
    os << 'k';
    return;
  case Kind::Head:
    os << 'h';
    return;
  case Kind::Batch:
    os << 'b';
    return;
  case Kind::Symbol:
    os << name();
    return;
  case Kind::Operand:
    os << name() << '[';
    args()[0].print(os);
    os << ']';
    return;
  case Kind::Add:
    if (args()[1].isConstant() && args()[1].value() < 0 &&
        args()[1].value() != INT64_MIN) {
      operand(args()[0]);
      os << " - " << -args()[1].value();
      return;
    }
    return binary("+");
  case Kind::Mul:
    return withValue("*");
  case Kind::MulExpr:
    return binary("*");
  case Kind::FloorDiv:
    return withValue("floordiv");
  case Kind::DivExpr:
    return binary("floordiv");
  case Kind::Mod:
    return withValue("mod");
  case Kind::ModExpr:
    return binary("mod");
  case Kind::Min:
    return call("min");
  case Kind::Max:
    return call("max");
  case Kind::Equal:
    return binary("==");
  case Kind::Less:
    return binary("lt");
  case Kind::And:
    return binary("and");
  case Kind::Or:
    return binary("or");
  case Kind::Not:
    return call("not");
  case Kind::Hash:
    os << "hash(" << value() << ", ";
    llvm::interleaveComma(args(), os, [&](const Expr &e) { e.print(os); });
    os << ')';
    return;
  case Kind::Table:
  case Kind::In:
    os << (kind() == Kind::In ? "in([" : "table([");
    llvm::interleave(table(), os, ",");
    os << "], ";
    args()[0].print(os);
    os << ')';
    return;
  }
}

std::string Expr::str() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  print(os);
  return text;
}
