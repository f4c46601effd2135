//===- Bounds.cpp - bounds of pieces as minima and maxima -----------------===//

#include "Bounds.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <numeric>

using namespace mlir::megactx::pattern;

Expr mlir::megactx::pattern::lifted(const Expr &e) {
  using Kind = Expr::Kind;
  auto over = [](const Expr &e, llvm::function_ref<Expr(const Expr &)> f,
                 bool flip = false) {
    bool isMin = (e.kind() == Kind::Min) != flip;
    Expr a = lifted(f(e.args()[0])), b = lifted(f(e.args()[1]));
    return isMin ? Expr::min(a, b) : Expr::max(a, b);
  };
  auto isLattice = [](const Expr &e) {
    return e.kind() == Kind::Min || e.kind() == Kind::Max;
  };
  if (isLattice(e))
    return over(e, [](const Expr &x) { return x; });
  if (!e.uses(Kind::Min) && !e.uses(Kind::Max))
    return e;
  switch (e.kind()) {
  case Kind::Add: {
    Expr a = lifted(e.args()[0]), b = lifted(e.args()[1]);
    if (isLattice(a))
      return over(a, [&](const Expr &x) { return x + b; });
    if (isLattice(b))
      return over(b, [&](const Expr &x) { return a + x; });
    return a + b;
  }
  case Kind::Mul:
  case Kind::FloorDiv: {
    Expr a = lifted(e.args()[0]);
    bool divides = e.kind() == Kind::FloorDiv;
    auto apply = [&](const Expr &x) {
      return divides ? x.floorDiv(e.value()) : x * e.value();
    };
    return isLattice(a) ? over(a, apply, !divides && e.value() < 0) : apply(a);
  }
  default:
    return e;
  }
}

Expr mlir::megactx::pattern::asKeyRow(const Expr &position, const Rows &rows) {
  return lifted(
      (position + (rows.keyStep - 1 - rows.keyOffset)).floorDiv(rows.keyStep));
}

namespace {
/// f(i + rows) = f(i) + growth.
struct Period {
  int64_t rows, growth;
};

int64_t leastCommon(int64_t a, int64_t b) {
  Wide lcm = Wide(a / std::gcd(a, b)) * b;
  return lcm > kNoPeriod ? kNoPeriod : int64_t(lcm);
}

Period stretched(Period p, int64_t factor) {
  Wide rows = Wide(p.rows) * factor, growth = Wide(p.growth) * factor;
  if (rows >= kNoPeriod || growth > kNoPeriod || growth < -kNoPeriod)
    return {kNoPeriod, 0};
  return {int64_t(rows), int64_t(growth)};
}

/// The period of a bound without min and max in rows `step` apart; kNoPeriod
/// rows where it has none that helps.
Period periodOf(const Expr &e, int64_t step) {
  switch (e.kind()) {
  case Expr::Kind::Constant:
    return {1, 0};
  case Expr::Kind::Position:
    return {1, step};
  case Expr::Kind::Add: {
    Period a = periodOf(e.args()[0], step), b = periodOf(e.args()[1], step);
    int64_t rows = leastCommon(a.rows, b.rows);
    if (rows >= kNoPeriod)
      return {kNoPeriod, 0};
    a = stretched(a, rows / a.rows);
    b = stretched(b, rows / b.rows);
    return {std::max(a.rows, b.rows), a.growth + b.growth};
  }
  case Expr::Kind::Mul: {
    Period a = periodOf(e.args()[0], step);
    Wide growth = Wide(a.growth) * e.value();
    if (growth > kNoPeriod || growth < -kNoPeriod)
      return {kNoPeriod, 0};
    return {a.rows, int64_t(growth)};
  }
  case Expr::Kind::FloorDiv: {
    Period a = periodOf(e.args()[0], step);
    a = stretched(a, e.value() / std::gcd(a.growth, e.value()));
    return {a.rows, a.growth / e.value()};
  }
  default:
    return {kNoPeriod, 0};
  }
}
} // namespace

Bounds::Bounds(llvm::ArrayRef<Expr> lo, llvm::ArrayRef<Expr> hi) {
  for (const Expr &e : lo)
    roots.push_back({add(e), true});
  for (const Expr &e : hi)
    roots.push_back({add(e), false});
}

int64_t Bounds::period(int64_t step, int64_t queryPeriod,
                       int64_t keyPeriod) const {
  int64_t rows = queryPeriod;
  for (const Expr &leaf : leaves) {
    Period p = periodOf(leaf, step);
    p = stretched(p, keyPeriod / std::gcd(p.growth, keyPeriod));
    rows = leastCommon(rows, p.rows);
  }
  return rows;
}

Wide Bounds::count(llvm::ArrayRef<Wide> ranks) const {
  Wide lo = -(Wide(1) << 100), hi = Wide(1) << 100;
  for (auto [node, isLower] : roots) {
    Wide value = combine(node, ranks);
    if (isLower)
      lo = std::max(lo, value);
    else
      hi = std::min(hi, value);
  }
  return std::max<Wide>(0, hi - lo);
}

unsigned Bounds::add(const Expr &e) {
  if (e.kind() == Expr::Kind::Min || e.kind() == Expr::Kind::Max) {
    unsigned a = add(e.args()[0]), b = add(e.args()[1]);
    nodes.push_back({e.kind(), a, b});
  } else {
    auto found = llvm::find(leaves, e);
    nodes.push_back(
        {Expr::Kind::Constant, unsigned(found - leaves.begin()), 0});
    if (found == leaves.end())
      leaves.push_back(e);
  }
  return nodes.size() - 1;
}

Wide Bounds::combine(unsigned index, llvm::ArrayRef<Wide> ranks) const {
  const Node &node = nodes[index];
  if (node.kind == Expr::Kind::Constant)
    return ranks[node.a];
  Wide a = combine(node.a, ranks), b = combine(node.b, ranks);
  return node.kind == Expr::Kind::Min ? std::min(a, b) : std::max(a, b);
}
