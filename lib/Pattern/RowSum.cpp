//===- RowSum.cpp - sums over rows in closed form -------------------------===//

#include "RowSum.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <algorithm>
#include <numeric>

using namespace mlir::megactx::pattern;
using Wide = __int128;

KeySet::KeySet(int64_t period, std::vector<std::pair<int64_t, int64_t>> runs)
    : period(period), runs(std::move(runs)), before{0} {
  for (auto [begin, end] : this->runs)
    before.push_back(before.back() + end - begin);
}

KeySet KeySet::of(int64_t period, std::vector<int64_t> rows) {
  llvm::sort(rows);
  std::vector<std::pair<int64_t, int64_t>> runs;
  for (int64_t j : rows) {
    if (runs.empty() || runs.back().second != j)
      runs.push_back({j, j});
    ++runs.back().second;
  }
  return KeySet(period, std::move(runs));
}

int64_t KeySet::rank(int64_t j) const {
  int64_t periods = floorDivide(j, period), rest = j - periods * period;
  auto run =
      std::upper_bound(runs.begin(), runs.end(), rest,
                       [](int64_t x, const std::pair<int64_t, int64_t> &r) {
                         return x < r.first;
                       });
  int64_t below = 0;
  if (run != runs.begin()) {
    --run;
    below =
        before[run - runs.begin()] + std::min(rest, run->second) - run->first;
  }
  return periods * size() + below;
}

/// Moves min and max outwards over monotone operators.
static Expr lifted(const Expr &e) {
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
constexpr int64_t kNoPeriod = int64_t(1) << 40;

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

/// Bounds flattened to leaves and how they are combined.
class Bounds {
public:
  explicit Bounds(const RowSum &sum) : sum(sum) {
    for (const Expr &e : sum.lo)
      roots.push_back({add(e), true});
    for (const Expr &e : sum.hi)
      roots.push_back({add(e), false});
  }

  /// Rows after which all leaves have grown by whole periods of the keys.
  int64_t period(int64_t keyPeriod) const {
    int64_t rows = sum.queryPeriod;
    for (const Expr &leaf : leaves) {
      Period p = periodOf(leaf, sum.rows.queryStep);
      p = stretched(p, keyPeriod / std::gcd(p.growth, keyPeriod));
      rows = leastCommon(rows, p.rows);
    }
    return rows;
  }

  llvm::ArrayRef<Expr> getLeaves() const { return leaves; }

  /// The number of keys where leaf i has this rank.
  Wide count(llvm::ArrayRef<Wide> ranks) const {
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

private:
  struct Node {
    Expr::Kind kind;
    unsigned a, b; ///< children; of a leaf its number
  };

  unsigned add(const Expr &e) {
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

  Wide combine(unsigned index, llvm::ArrayRef<Wide> ranks) const {
    const Node &node = nodes[index];
    if (node.kind == Expr::Kind::Constant)
      return ranks[node.a];
    Wide a = combine(node.a, ranks), b = combine(node.b, ranks);
    return node.kind == Expr::Kind::Min ? std::min(a, b) : std::max(a, b);
  }

  const RowSum &sum;
  std::vector<Expr> leaves;
  std::vector<Node> nodes;
  std::vector<std::pair<unsigned, bool>> roots;
};

/// Sum over a in [0, length) of the count where leaf i has the rank
/// start[i] + growth[i] a: between two crossings of leaves it is affine.
Wide sumSeries(const Bounds &bounds, llvm::ArrayRef<Wide> start,
               llvm::ArrayRef<Wide> growth, Wide length) {
  llvm::SmallVector<Wide, 16> cuts = {0, length};
  size_t n = start.size();
  for (size_t i = 0; i < n && length > 1; ++i)
    for (size_t j = 0; j < i; ++j) {
      Wide distance = start[j] - start[i], slope = growth[i] - growth[j];
      if (slope < 0)
        distance = -distance, slope = -slope;
      if (slope == 0 || distance < 0 || distance >= slope * length)
        continue;
      cuts.push_back(distance / slope + 1);
    }
  llvm::sort(cuts);
  llvm::SmallVector<Wide, 8> ranks(n);
  auto countAt = [&](Wide a) {
    for (size_t i = 0; i < n; ++i)
      ranks[i] = start[i] + growth[i] * a;
    return bounds.count(ranks);
  };
  Wide total = 0;
  for (size_t c = 0; c + 1 < cuts.size() && cuts[c] < length; ++c) {
    Wide begin = cuts[c], end = std::min(cuts[c + 1], length);
    if (begin >= end)
      continue;
    Wide first = countAt(begin);
    Wide last = end - begin == 1 ? first : countAt(end - 1);
    total += (first + last) * (end - begin) / 2;
  }
  return total;
}

/// The quotient with the largest divisor, or null.
Expr largestQuotient(llvm::ArrayRef<Expr> leaves) {
  Expr best;
  for (const Expr &leaf : leaves)
    leaf.substitute([&](const Expr &e) {
      if (e.kind() == Expr::Kind::FloorDiv &&
          (!best || best.value() < e.value()))
        best = e;
      return Expr();
    });
  return best;
}

class Summation {
public:
  explicit Summation(const RowSum &sum) : sum(sum) {}

  std::optional<Wide> over(const RowSum &part, int64_t begin, int64_t end) {
    if (begin >= end)
      return 0;
    Bounds bounds(part);
    int64_t period = bounds.period(sum.keyPeriod);
    if (std::min(period, end - begin) > kDirectRows)
      if (Expr quotient = largestQuotient(bounds.getLeaves()))
        if (runsOf(quotient, begin, end) < std::min(period, end - begin) / 4)
          return split(part, quotient, begin, end);
    return direct(bounds, std::min(period, end - begin), begin, end);
  }

private:
  static constexpr int64_t kDirectRows = 256;

  int64_t valueAt(const Expr &e, int64_t row) const {
    Point point;
    point.p = sum.rows.query(row);
    return evaluate(e, point);
  }

  int64_t runsOf(const Expr &quotient, int64_t begin, int64_t end) const {
    return valueAt(quotient, end - 1) - valueAt(quotient, begin) + 1;
  }

  /// Sums where the quotient stays, by bisection for where it changes.
  std::optional<Wide> split(const RowSum &part, const Expr &quotient,
                            int64_t begin, int64_t end) {
    Wide total = 0;
    for (int64_t row = begin; row < end;) {
      int64_t value = valueAt(quotient, row), below = row, above = end;
      while (above - below > 1) {
        int64_t middle = below + (above - below) / 2;
        (valueAt(quotient, middle) == value ? below : above) = middle;
      }
      RowSum here = part;
      for (auto *bounds : {&here.lo, &here.hi})
        for (Expr &bound : *bounds)
          bound = bound.substitute([&](const Expr &e) {
            return e == quotient ? Expr::constant(value) : Expr();
          });
      auto inner = sum.budget.spend() ? over(here, row, above) : std::nullopt;
      if (!inner)
        return std::nullopt;
      total += *inner;
      row = above;
    }
    return total;
  }

  std::optional<Wide> direct(const Bounds &bounds, int64_t period,
                             int64_t begin, int64_t end) {
    llvm::ArrayRef<Expr> leaves = bounds.getLeaves();
    llvm::SmallVector<Wide, 8> start(leaves.size()), growth(leaves.size());
    Wide total = 0;
    for (int64_t row = begin; row < begin + period; ++row) {
      if (!sum.budget.spend())
        return std::nullopt;
      const KeySet *keys = sum.keys(floorMod(row, sum.queryPeriod));
      if (!keys)
        continue;
      int64_t length = (end - row + period - 1) / period;
      for (size_t i = 0; i < leaves.size(); ++i) {
        start[i] = keys->rank(valueAt(leaves[i], row));
        growth[i] = length == 1 ? Wide(0)
                                : keys->rank(valueAt(leaves[i], row + period)) -
                                      start[i];
      }
      total += sumSeries(bounds, start, growth, length);
    }
    return total;
  }

  const RowSum &sum;
};
} // namespace

std::optional<int64_t> RowSum::over(int64_t begin, int64_t end) const {
  std::optional<Wide> total = Summation(*this).over(*this, begin, end);
  if (!total)
    return std::nullopt;
  return int64_t(*total);
}
