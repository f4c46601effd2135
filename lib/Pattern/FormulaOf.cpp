//===- FormulaOf.cpp - conditions as formulas -----------------------------===//

#include "FormulaOf.h"
#include "Bounds.h"
#include "megactx/Pattern/Piece.h"
#include "llvm/ADT/STLExtras.h"
#include <numeric>

using namespace mlir::megactx::pattern;
using Kind = Expr::Kind;

/// Lists of values up to this long are compared one by one, as cuts.
static constexpr size_t kMaxValues = 64;

namespace {
/// A sum of terms with factors, without remainders: x mod m is
/// x - m (x floordiv m).
class Sum {
public:
  explicit Sum(const Expr &expr) { add(expr, 1); }

  void add(const Expr &expr, int64_t factor);
  Expr expr() const;
  /// Takes the term with the leaf out, where there is one of these alone.
  std::optional<std::pair<Expr, int64_t>> takeOnly(Kind leaf);
  llvm::ArrayRef<std::pair<Expr, int64_t>> getTerms() const { return terms; }
  std::optional<int64_t> asConstant() const {
    return terms.empty() ? std::optional(constant) : std::nullopt;
  }

private:
  std::vector<std::pair<Expr, int64_t>> terms;
  int64_t constant = 0;
};

/// x < value, or x >= value.
struct Bound {
  Expr value;
  bool isBelow;
};
} // namespace

void Sum::add(const Expr &expr, int64_t factor) {
  switch (expr.kind()) {
  case Kind::Constant:
    constant += factor * expr.value();
    return;
  case Kind::Add:
    add(expr.args()[0], factor);
    return add(expr.args()[1], factor);
  case Kind::Mul:
    return add(expr.args()[0], factor * expr.value());
  case Kind::Mod:
    add(expr.args()[0], factor);
    return add(expr.args()[0].floorDiv(expr.value()), -factor * expr.value());
  default:
    break;
  }
  auto found = llvm::find_if(
      terms, [&](const auto &term) { return term.first == expr; });
  if (found == terms.end())
    terms.push_back({expr, factor});
  else if ((found->second += factor) == 0)
    terms.erase(found);
}

Expr Sum::expr() const {
  Expr result = Expr::constant(0);
  for (const auto &[term, factor] : terms)
    result = result + term * factor;
  return result + constant;
}

std::optional<std::pair<Expr, int64_t>> Sum::takeOnly(Kind leaf) {
  auto has = [&](const auto &term) { return term.first.uses(leaf); };
  auto found = llvm::find_if(terms, has);
  if (found == terms.end() || std::any_of(found + 1, terms.end(), has))
    return std::nullopt;
  auto term = *found;
  terms.erase(found);
  return term;
}

/// The sum is below 0, solved for the leaf.
static std::optional<Bound> solve(Sum sum, Kind leaf) {
  auto term = sum.takeOnly(leaf);
  if (!term)
    return std::nullopt;
  auto [x, factor] = *term;
  Expr rest = sum.expr();
  // factor x < -rest, rounded: x < value, or x >= value.
  Bound bound{factor > 0 ? (rest * -1 + (factor - 1)).floorDiv(factor)
                         : rest.floorDiv(-factor) + 1,
              factor > 0};
  if (x.kind() == leaf)
    return bound;
  if (x.kind() != Kind::FloorDiv)
    return std::nullopt;
  // u floordiv d < value where u < d value.
  Sum inner(x.args()[0]);
  inner.add(bound.value, -x.value());
  auto found = solve(inner, leaf);
  if (found && !bound.isBelow)
    found->isBelow = !found->isBelow;
  return found;
}

namespace {
/// As p grows.
struct Direction {
  bool rises, falls; ///< never the other way; both: it stays
};
} // namespace

static Direction directionOf(const Expr &expr) {
  Direction all{true, true};
  Sum sum(expr);
  for (const auto &[term, factor] : sum.getTerms()) {
    Direction one{false, false};
    bool isJoin = term.kind() == Kind::Min || term.kind() == Kind::Max;
    if (term.uses(Kind::Key) || term.uses(Kind::Head) ||
        term.uses(Kind::Batch) || term.uses(Kind::Operand))
      return one;
    if (!term.uses(Kind::Position)) {
      one = {true, true};
    } else if (term.kind() == Kind::Position) {
      one.rises = true;
    } else if (term.kind() == Kind::FloorDiv || isJoin) {
      one = directionOf(term.args()[0]);
      if (isJoin) {
        Direction other = directionOf(term.args()[1]);
        one = {one.rises && other.rises, one.falls && other.falls};
      }
    }
    if (factor < 0)
      std::swap(one.rises, one.falls);
    all = {all.rises && one.rises, all.falls && one.falls};
  }
  return all;
}

/// The sum is below 0: a bound of keys, or of rows.
static std::optional<Formula> belowZero(const Sum &sum) {
  if (auto bound = solve(sum, Kind::Key)) {
    Expr value = Sum(bound->value).expr();
    if (!directionOf(value).rises)
      return std::nullopt;
    Formula cut = Formula::keysBelow(value);
    return bound->isBelow ? cut : !cut;
  }
  auto bound = solve(sum, Kind::Position);
  auto value = bound ? Sum(bound->value).asConstant() : std::nullopt;
  if (!value)
    return std::nullopt;
  Formula rows = Formula::rowsBelow(*value);
  return bound->isBelow ? rows : !rows;
}

/// The least common multiple, or 0 where it is too large to be of use.
static int64_t joined(int64_t a, int64_t b) {
  if (!a || !b || a > kMaxPeriod || b > kMaxPeriod)
    return 0;
  int64_t period = std::lcm(a, b);
  return period > kMaxPeriod ? 0 : period;
}

/// After so many tokens of p or k the expression has the same remainder by
/// `modulus`; 0 where that is not known.
static int64_t periodOf(const Expr &expr, int64_t modulus);

/// After so many tokens of p or k the expression is the same.
static int64_t periodOf(const Expr &expr) {
  switch (expr.kind()) {
  case Kind::Constant:
    return 1;
  case Kind::Mod:
    return periodOf(expr.args()[0], expr.value());
  case Kind::Position:
  case Kind::Key:
  case Kind::Head:
  case Kind::Batch:
  case Kind::Symbol:
  case Kind::Operand:
    return 0;
  default:
    break;
  }
  int64_t period = 1;
  for (const Expr &arg : expr.args())
    period = joined(period, periodOf(arg));
  return period;
}

static int64_t periodOf(const Expr &expr, int64_t modulus) {
  if (modulus > kMaxPeriod)
    return 0;
  switch (expr.kind()) {
  case Kind::Position:
  case Kind::Key:
    return modulus;
  case Kind::Add:
    return joined(periodOf(expr.args()[0], modulus),
                  periodOf(expr.args()[1], modulus));
  case Kind::Mul:
    return periodOf(expr.args()[0], modulus / std::gcd(modulus, expr.value()));
  case Kind::FloorDiv:
    return expr.value() > kMaxPeriod
               ? 0
               : periodOf(expr.args()[0], modulus * expr.value());
  default:
    return periodOf(expr);
  }
}

/// A comparison of two values.
static Formula comparison(const Expr &expr) {
  if (!expr.uses(Kind::Position) && !expr.uses(Kind::Key) &&
      !expr.uses(Kind::Batch) && !expr.uses(Kind::Symbol) &&
      !expr.uses(Kind::Operand))
    return Formula::head(expr);
  if (expr.kind() == Kind::Less || expr.kind() == Kind::Equal) {
    Sum difference(expr.args()[0]);
    difference.add(expr.args()[1], -1);
    Sum opposite = difference;
    auto isLess = belowZero(difference);
    if (isLess && expr.kind() == Kind::Less)
      return *isLess;
    Sum reversed(difference.expr() * -1);
    if (auto isMore = isLess ? belowZero(reversed) : std::nullopt)
      return !*isLess && !*isMore;
  }
  if (int64_t period = periodOf(expr))
    return Formula::digit(period, expr);
  return Formula::test(expr);
}

/// a < b, with the smaller of two values on the left taken one by one.
static Formula lessThan(const Expr &a, const Expr &b) {
  Expr difference = lifted(a - b);
  bool isMin = difference.kind() == Kind::Min;
  if (!isMin && difference.kind() != Kind::Max)
    return comparison(a.less(b));
  Expr zero = Expr::constant(0);
  Formula x = lessThan(difference.args()[0], zero);
  Formula y = lessThan(difference.args()[1], zero);
  return isMin ? x || y : x && y;
}

Formula mlir::megactx::pattern::formulaOf(const Expr &condition) {
  auto arg = [&](unsigned index) { return condition.args()[index]; };
  switch (condition.kind()) {
  case Kind::Constant:
    return Formula(condition.value() != 0);
  case Kind::And:
    return formulaOf(arg(0)) && formulaOf(arg(1));
  case Kind::Or:
    return formulaOf(arg(0)) || formulaOf(arg(1));
  case Kind::Not:
    return !formulaOf(arg(0));
  case Kind::Less:
    return lessThan(arg(0), arg(1));
  case Kind::In:
    if (condition.table().size() <= kMaxValues) {
      Formula any(false);
      for (int64_t value : condition.table())
        any = any || comparison(arg(0).equals(Expr::constant(value)));
      return any;
    }
    return comparison(condition);
  default:
    return comparison(condition);
  }
}
