//===- IndexExpr.cpp - symbolic shape arithmetic --------------------------===//

#include "IndexExpr.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;
using namespace mlir::megactx;

static int64_t wrapMul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) *
                              static_cast<uint64_t>(b));
}
static int64_t wrapAdd(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) +
                              static_cast<uint64_t>(b));
}

void IndexExpr::add(const Monomial &monomial, int64_t coefficient) {
  auto [it, isNew] = terms.try_emplace(monomial, coefficient);
  if (!isNew)
    it->second = wrapAdd(it->second, coefficient);
  if (it->second == 0)
    terms.erase(it);
}

std::optional<int64_t> IndexExpr::constant() const {
  if (terms.empty())
    return 0;
  if (terms.size() == 1 && terms.begin()->first.empty())
    return terms.begin()->second;
  return std::nullopt;
}

namespace mlir::megactx {
IndexExpr operator+(const IndexExpr &a, const IndexExpr &b) {
  IndexExpr sum = a;
  for (auto &[monomial, coefficient] : b.terms)
    sum.add(monomial, coefficient);
  return sum;
}
IndexExpr operator-(const IndexExpr &a, const IndexExpr &b) {
  return a + b * IndexExpr(-1);
}
IndexExpr operator*(const IndexExpr &a, const IndexExpr &b) {
  IndexExpr product;
  for (auto &[ma, ca] : a.terms)
    for (auto &[mb, cb] : b.terms) {
      IndexExpr::Monomial monomial(ma.size() + mb.size());
      std::merge(ma.begin(), ma.end(), mb.begin(), mb.end(), monomial.begin());
      product.add(monomial, wrapMul(ca, cb));
    }
  return product;
}
} // namespace mlir::megactx

IndexExpr mlir::megactx::product(ArrayRef<IndexExpr> factors) {
  IndexExpr all(1);
  for (const IndexExpr &factor : factors)
    all = all * factor;
  return all;
}

bool IndexSpace::Scope::isOutside(const IndexExpr &expr) const {
  return llvm::all_of(expr.getTerms(), [&](const auto &term) {
    return llvm::all_of(term.first,
                        [&](unsigned atom) { return atom < atoms; });
  });
}

/// Atoms keep their numbers, so that no others are taken for them.
void IndexSpace::leave(const Scope &scope) {
  for (Value atom : llvm::drop_begin(atoms, scope.atoms))
    numbers.erase(atom);
  for (; newDims.size() > scope.dims; newDims.pop_back())
    dims.erase(newDims.back());
  for (; newMade.size() > scope.made; newMade.pop_back())
    made.erase(newMade.back());
  for (; newComputed.size() > scope.computed; newComputed.pop_back())
    computed.erase(newComputed.back());
}

IndexExpr IndexSpace::symbol(Value value, std::optional<int64_t> lower) {
  if (auto op = value.getDefiningOp<arith::ConstantIndexOp>())
    return IndexExpr(op.value());
  auto [it, isNew] = numbers.try_emplace(value, atoms.size());
  if (isNew) {
    atoms.push_back(value);
    lowers.push_back(lower);
  }
  return IndexExpr::atom(it->second);
}

IndexExpr IndexSpace::dimOf(Location loc, Value tensor, int64_t dim) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (!type.isDynamicDim(dim))
    return IndexExpr(type.getDimSize(dim));
  Value &size = dims[{tensor, dim}];
  if (!size) {
    size = tensor::DimOp::create(b, loc, tensor, dim);
    newDims.push_back({tensor, dim});
  }
  return symbol(size, 0);
}

std::optional<int64_t> IndexSpace::lowerBound(const IndexExpr &expr) const {
  int64_t sum = 0;
  for (auto &[monomial, coefficient] : expr.getTerms()) {
    if (monomial.empty()) {
      sum = wrapAdd(sum, coefficient);
      continue;
    }
    if (coefficient < 0)
      return std::nullopt;
    int64_t product = coefficient;
    for (unsigned atom : monomial) {
      if (!lowers[atom] || *lowers[atom] < 0)
        return std::nullopt;
      product = wrapMul(product, *lowers[atom]);
    }
    sum = wrapAdd(sum, product);
  }
  return sum;
}

std::optional<IndexExpr> IndexSpace::exactQuotient(const IndexExpr &a,
                                                   const IndexExpr &b) const {
  if (b.getTerms().size() != 1)
    return a == b ? std::optional(IndexExpr(1)) : std::nullopt;
  auto &[divisor, coefficient] = *b.getTerms().begin();
  // The one negative divisor that overflows is -1; nothing needs negatives.
  if (coefficient <= 0)
    return std::nullopt;
  IndexExpr quotient;
  for (auto &[monomial, c] : a.getTerms()) {
    if (c % coefficient || !std::includes(monomial.begin(), monomial.end(),
                                          divisor.begin(), divisor.end()))
      return std::nullopt;
    IndexExpr::Monomial rest;
    std::set_difference(monomial.begin(), monomial.end(), divisor.begin(),
                        divisor.end(), std::back_inserter(rest));
    IndexExpr term(c / coefficient);
    for (unsigned atom : rest)
      term = term * IndexExpr::atom(atom);
    quotient = quotient + term;
  }
  return quotient;
}

IndexExpr IndexSpace::derived(Op op, std::vector<IndexExpr> operands,
                              std::optional<int64_t> lower,
                              llvm::function_ref<Value()> build) {
  Key key{op, std::move(operands)};
  if (auto it = made.find(key); it != made.end())
    return it->second;
  auto [it, isNew] = made.try_emplace(key, symbol(build(), lower));
  newMade.push_back(it);
  return it->second;
}

/// Rounds towards minus infinity; the divisor is not zero.
static int64_t floorDivide(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

IndexExpr IndexSpace::floorDiv(Location loc, const IndexExpr &a,
                               const IndexExpr &d) {
  if (auto quotient = exactQuotient(a, d))
    return *quotient;
  auto ca = a.constant(), cd = d.constant();
  if (ca && cd && *cd > 0)
    return IndexExpr(floorDivide(*ca, *cd));
  std::optional<int64_t> lower;
  if (isNonNegative(a) && isNonNegative(d))
    lower = 0;
  return derived(Op::FloorDiv, {a, d}, lower, [&] {
    // A divisor of zero means an empty tensor; the quotient is not used then.
    Value divisor = value(loc, max(loc, d, IndexExpr(1)));
    return Value(arith::FloorDivSIOp::create(b, loc, value(loc, a), divisor));
  });
}

IndexExpr IndexSpace::mod(Location loc, const IndexExpr &a,
                          const IndexExpr &d) {
  return a - floorDiv(loc, a, d) * d;
}

std::optional<bool> IndexSpace::decide(Compare kind, const IndexExpr &x,
                                       const IndexExpr &y) const {
  IndexExpr difference = x - y;
  auto constant = difference.constant();
  auto lower = lowerBound(difference), upper = lowerBound(y - x);
  if (constant)
    lower = *constant, upper = -*constant;
  bool positive = lower && *lower > 0, negative = upper && *upper > 0;
  bool atLeast = lower && *lower >= 0, atMost = upper && *upper >= 0;
  auto pick = [](bool yes, bool no) -> std::optional<bool> {
    if (yes || no)
      return yes;
    return std::nullopt;
  };
  switch (kind) {
  case Compare::Eq:
    return pick(constant && *constant == 0, positive || negative);
  case Compare::Ne:
    return pick(positive || negative, constant && *constant == 0);
  case Compare::Lt:
    return pick(negative, atLeast);
  case Compare::Le:
    return pick(atMost, positive);
  case Compare::Gt:
    return pick(positive, atMost);
  case Compare::Ge:
    return pick(atLeast, negative);
  }
  return std::nullopt;
}

IndexExpr IndexSpace::min(Location loc, const IndexExpr &x,
                          const IndexExpr &y) {
  if (decide(Compare::Le, x, y) == true)
    return x;
  if (decide(Compare::Ge, x, y) == true)
    return y;
  auto lx = lowerBound(x), ly = lowerBound(y);
  std::optional<int64_t> lower;
  if (lx && ly)
    lower = std::min(*lx, *ly);
  return derived(Op::Min, x < y ? std::vector{x, y} : std::vector{y, x}, lower,
                 [&] {
                   return Value(arith::MinSIOp::create(b, loc, value(loc, x),
                                                       value(loc, y)));
                 });
}

IndexExpr IndexSpace::max(Location loc, const IndexExpr &x,
                          const IndexExpr &y) {
  if (decide(Compare::Ge, x, y) == true)
    return x;
  if (decide(Compare::Le, x, y) == true)
    return y;
  auto lower = lowerBound(x), ly = lowerBound(y);
  if (!lower || (ly && *ly > *lower))
    lower = ly;
  return derived(Op::Max, x < y ? std::vector{x, y} : std::vector{y, x}, lower,
                 [&] {
                   return Value(arith::MaxSIOp::create(b, loc, value(loc, x),
                                                       value(loc, y)));
                 });
}

IndexExpr IndexSpace::compare(Location loc, Compare kind, const IndexExpr &x,
                              const IndexExpr &y) {
  if (auto known = decide(kind, x, y))
    return IndexExpr(*known);
  static constexpr std::pair<Op, arith::CmpIPredicate> ops[] = {
      {Op::Eq, arith::CmpIPredicate::eq},  {Op::Ne, arith::CmpIPredicate::ne},
      {Op::Lt, arith::CmpIPredicate::slt}, {Op::Le, arith::CmpIPredicate::sle},
      {Op::Gt, arith::CmpIPredicate::sgt}, {Op::Ge, arith::CmpIPredicate::sge}};
  auto [op, predicate] = ops[static_cast<unsigned>(kind)];
  return derived(op, {x, y}, 0, [&, predicate = predicate] {
    Value bit =
        arith::CmpIOp::create(b, loc, predicate, value(loc, x), value(loc, y));
    return Value(arith::IndexCastUIOp::create(b, loc, b.getIndexType(), bit));
  });
}

IndexExpr IndexSpace::select(Location loc, const IndexExpr &condition,
                             const IndexExpr &x, const IndexExpr &y) {
  if (auto known = condition.constant())
    return *known ? x : y;
  if (x == y)
    return x;
  auto lower = lowerBound(x), ly = lowerBound(y);
  if (!ly || (lower && *ly < *lower))
    lower = ly;
  return derived(Op::Select, {condition, x, y}, lower, [&] {
    Value bit = this->condition(loc, condition);
    return Value(
        arith::SelectOp::create(b, loc, bit, value(loc, x), value(loc, y)));
  });
}

bool IndexSpace::isCapped(const IndexExpr &capped,
                          const IndexExpr &whole) const {
  return llvm::any_of(made, [&](const auto &entry) {
    const auto &[key, result] = entry;
    if (key.first != Op::Min || result != capped)
      return false;
    bool isFirst = key.second[0] == whole;
    if (!isFirst && key.second[1] != whole)
      return false;
    auto cap = key.second[isFirst].constant();
    return cap && *cap > 1;
  });
}

Value IndexSpace::value(Location loc, const IndexExpr &expr) {
  if (auto it = computed.find(expr); it != computed.end())
    return it->second;
  Value sum;
  for (auto &[monomial, coefficient] : expr.getTerms()) {
    Value product;
    for (unsigned atom : monomial)
      product = product
                    ? Value(arith::MulIOp::create(b, loc, product, atoms[atom]))
                    : atoms[atom];
    if (!product || coefficient != 1) {
      Value factor = arith::ConstantIndexOp::create(b, loc, coefficient);
      product = product ? Value(arith::MulIOp::create(b, loc, product, factor))
                        : factor;
    }
    sum = sum ? Value(arith::AddIOp::create(b, loc, sum, product)) : product;
  }
  if (!sum)
    sum = arith::ConstantIndexOp::create(b, loc, 0);
  newComputed.push_back(computed.try_emplace(expr, sum).first);
  return sum;
}

Value IndexSpace::condition(Location loc, const IndexExpr &expr) {
  if (auto cast = value(loc, expr).getDefiningOp<arith::IndexCastUIOp>())
    if (cast.getIn().getType().isInteger(1))
      return cast.getIn();
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne,
                               value(loc, expr), zero);
}

OpFoldResult IndexSpace::fold(Location loc, const IndexExpr &expr) {
  if (auto constant = expr.constant())
    return b.getIndexAttr(*constant);
  return value(loc, expr);
}

SmallVector<OpFoldResult> IndexSpace::fold(Location loc,
                                           ArrayRef<IndexExpr> exprs) {
  return llvm::map_to_vector(
      exprs, [&](const IndexExpr &expr) { return fold(loc, expr); });
}

SmallVector<Value> IndexSpace::values(Location loc, ArrayRef<IndexExpr> exprs) {
  return llvm::map_to_vector(
      exprs, [&](const IndexExpr &expr) { return value(loc, expr); });
}
