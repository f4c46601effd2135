//===- IndexExpr.cpp - symbolic shape arithmetic --------------------------===//

#include "IndexExpr.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinTypes.h"
#include <numeric>

using namespace mlir;
using namespace mlir::megactx;

IndexExpr IndexExpr::term(Monomial monomial, int64_t coefficient) {
  IndexExpr expr;
  expr.add(monomial, coefficient);
  return expr;
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
    quotient = quotient + IndexExpr::term(rest, c / coefficient);
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

/// What both are multiples of, as far as terms show it.
static IndexExpr::Monomial commonAtoms(const IndexExpr &a,
                                       IndexExpr::Monomial common) {
  for (auto &[monomial, coefficient] : a.getTerms()) {
    IndexExpr::Monomial both;
    std::set_intersection(monomial.begin(), monomial.end(), common.begin(),
                          common.end(), std::back_inserter(both));
    common = std::move(both);
  }
  return common;
}

static int64_t commonFactor(const IndexExpr &a, int64_t factor) {
  for (auto &[monomial, coefficient] : a.getTerms())
    if (!monomial.empty()) // What a constant leaves is less than one.
      factor = std::gcd(factor, coefficient);
  return factor;
}

/// The quotient by a number in the one form that is equal for equal ones: what
/// the number divides is taken out, a factor of all that is left too, and of a
/// negative rest the opposite is divided, rounded up.
IndexExpr IndexSpace::floorDivByNumber(Location loc, const IndexExpr &a,
                                       int64_t d) {
  IndexExpr whole, rest;
  for (auto &[monomial, c] : a.getTerms()) {
    int64_t taken = monomial.empty() ? floorDivide(c, d) : c / d;
    whole = whole + IndexExpr::term(monomial, taken);
    rest = rest + IndexExpr::term(monomial, c - taken * d);
  }
  int64_t constant = 0, factor = commonFactor(rest, d);
  if (auto it = rest.getTerms().find({}); it != rest.getTerms().end())
    constant = it->second;
  rest = *exactQuotient(rest - IndexExpr(constant), IndexExpr(factor));
  constant /= factor, d /= factor;
  if (d == 1 || rest.is(0))
    return whole + rest;
  if (!isNonNegative(rest) && isNonNegative(IndexExpr(0) - rest))
    return whole -
           floorDiv(loc, IndexExpr(d - 1 - constant) - rest, IndexExpr(d));
  rest = rest + IndexExpr(constant);
  std::optional<int64_t> lower;
  if (isNonNegative(rest))
    lower = 0;
  IndexExpr quotient = derived(Op::FloorDiv, {rest, d}, lower, [&] {
    Value divisor = arith::ConstantIndexOp::create(b, loc, d);
    return Value(
        arith::FloorDivSIOp::create(b, loc, value(loc, rest), divisor));
  });
  quotients.try_emplace(quotient.getTerms().begin()->first.front(), rest, d);
  return whole + quotient;
}

IndexExpr IndexSpace::floorDiv(Location loc, const IndexExpr &a,
                               const IndexExpr &d) {
  if (auto quotient = exactQuotient(a, d))
    return *quotient;
  // A divisor of zero means an empty tensor; the quotient is not used then.
  if (d.getTerms().size() == 1 && !d.constant()) {
    auto &[monomial, coefficient] = *d.getTerms().begin();
    IndexExpr common = IndexExpr::term(commonAtoms(a, monomial), 1);
    if (!common.is(1))
      return floorDiv(loc, *exactQuotient(a, common),
                      *exactQuotient(d, common));
  }
  if (auto number = d.constant(); number && *number > 0)
    return floorDivByNumber(loc, a, *number);
  std::optional<int64_t> lower;
  if (isNonNegative(a) && isNonNegative(d))
    lower = 0;
  return derived(Op::FloorDiv, {a, d}, lower, [&] {
    Value divisor = value(loc, max(loc, d, IndexExpr(1)));
    return Value(arith::FloorDivSIOp::create(b, loc, value(loc, a), divisor));
  });
}

IndexExpr IndexSpace::mod(Location loc, const IndexExpr &a,
                          const IndexExpr &d) {
  return a - floorDiv(loc, a, d) * d;
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
