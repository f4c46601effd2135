//===- IndexBounds.cpp - what is known of the order of sizes --------------===//
//
// Bounds come from those of atoms and, of a quotient q of x by d, from
// x - d + 1 <= d q <= x.
//
//===----------------------------------------------------------------------===//

#include "IndexExpr.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace mlir::megactx;

/// From the bounds of atoms, term by term.
std::optional<int64_t> IndexSpace::termwiseBound(const IndexExpr &expr) const {
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

/// No less than d times the expression is what has, in place of d times the
/// quotient, its numerator, or that without the greatest remainder. Nothing
/// where the quotient is multiplied by what may be negative.
std::optional<IndexExpr> IndexSpace::withoutQuotient(const IndexExpr &expr,
                                                     unsigned quotient) const {
  constexpr int64_t kMost = int64_t(1) << 24; // Products of two fit.
  auto &[numerator, d] = quotients.find(quotient)->second;
  auto isSmall = [](const IndexExpr &x) {
    return llvm::all_of(x.getTerms(), [](const auto &term) {
      return term.second > -kMost && term.second < kMost;
    });
  };
  if (d >= kMost || !isSmall(expr) || !isSmall(numerator))
    return std::nullopt;
  IndexExpr bound;
  for (auto &[monomial, coefficient] : expr.getTerms()) {
    auto at = llvm::find(monomial, quotient);
    if (at == monomial.end()) {
      bound = bound + IndexExpr::term(monomial, coefficient * d);
      continue;
    }
    IndexExpr::Monomial others(monomial.begin(), at);
    others.insert(others.end(), at + 1, monomial.end());
    IndexExpr factor = IndexExpr::term(others, coefficient);
    if (llvm::is_contained(others, quotient) ||
        !termwiseBound(IndexExpr::term(others, 1)))
      return std::nullopt;
    bound = bound + factor * (coefficient < 0 ? numerator
                                              : numerator - IndexExpr(d - 1));
  }
  return bound;
}

/// The quotient to put a bound in place of: one that is subtracted, or one of
/// what is subtracted. Numerators have but older atoms: the newest comes first.
std::optional<unsigned>
IndexSpace::quotientToBound(const IndexExpr &expr) const {
  llvm::SmallSet<unsigned, 8> all, negative;
  for (auto &[monomial, coefficient] : expr.getTerms())
    for (unsigned atom : monomial) {
      all.insert(atom);
      if (coefficient < 0)
        negative.insert(atom);
    }
  std::optional<unsigned> found;
  for (unsigned atom : all) {
    auto quotient = quotients.find(atom);
    if (quotient == quotients.end() || (found && *found > atom))
      continue;
    bool isSubtracted = negative.contains(atom);
    for (auto &[monomial, coefficient] : quotient->second.first.getTerms())
      for (unsigned part : monomial)
        isSubtracted |= negative.contains(part);
    if (isSubtracted)
      found = atom;
  }
  return found;
}

std::optional<int64_t> IndexSpace::lowerBound(const IndexExpr &expr) const {
  if (auto bound = termwiseBound(expr))
    return bound;
  auto quotient = quotientToBound(expr);
  auto scaled = quotient ? withoutQuotient(expr, *quotient) : std::nullopt;
  auto bound = scaled ? lowerBound(*scaled) : std::nullopt;
  if (!bound)
    return std::nullopt;
  return -floorDivide(-*bound, quotients.find(*quotient)->second.second);
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
