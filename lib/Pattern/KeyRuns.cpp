//===- KeyRuns.cpp - where a test holds along the keys --------------------===//

#include "KeyRuns.h"
#include <algorithm>

using namespace mlir::megactx::pattern;

namespace {
constexpr int64_t kNever = INT64_MAX;

/// a * b + c within 2^62: positions beyond are never asked for.
int64_t saturated(int64_t a, int64_t b, int64_t c = 0) {
  constexpr __int128 limit = __int128(1) << 62;
  __int128 exact = __int128(a) * b + c;
  return int64_t(std::clamp(exact, -limit, limit));
}

/// Walks an expression along one variable, the other being fixed.
class Walk {
public:
  Walk(Expr::Kind variable, Point at) : variable(variable), at(at) {
    here = variable == Expr::Kind::Key ? at.k : at.p;
  }

  Run run(const Expr &e) {
    if (!e.uses(variable))
      return {evaluate(e, at), kNever};
    switch (e.kind()) {
    case Expr::Kind::Equal:
    case Expr::Kind::Less:
      return compare(e);
    case Expr::Kind::In:
      return member(e);
    case Expr::Kind::And:
    case Expr::Kind::Or:
      return connective(e);
    default:
      break;
    }
    int64_t value = evaluate(e, at);
    if (int slope = direction(e))
      return {value, reach(e, value + slope)};
    int64_t end = kNever;
    for (const Expr &arg : e.args())
      end = std::min(end, run(arg).end);
    return {value, e.args().empty() ? here + 1 : end};
  }

private:
  /// 1 or -1 where the expression ascends or descends along the variable, at
  /// least up to the next step of a `mod`; 0 where that is not known.
  int direction(const Expr &e) const {
    switch (e.kind()) {
    case Expr::Kind::Add: {
      bool left = e.args()[0].uses(variable),
           right = e.args()[1].uses(variable);
      return left && right ? 0 : direction(e.args()[left ? 0 : 1]);
    }
    case Expr::Kind::Mul:
      return e.value() < 0 ? -direction(e.args()[0]) : direction(e.args()[0]);
    case Expr::Kind::FloorDiv:
    case Expr::Kind::Mod:
      return direction(e.args()[0]);
    default:
      return e.kind() == variable;
    }
  }

  /// The first place from here on at which the expression has reached `target`
  /// in its direction, or from which its direction no longer holds.
  int64_t reach(const Expr &e, int64_t target) const {
    bool up = direction(e) > 0;
    if (e.kind() == variable)
      return std::max(here, target);
    const Expr &arg = e.args()[0];
    switch (e.kind()) {
    case Expr::Kind::Add: {
      bool left = arg.uses(variable);
      return reach(e.args()[left ? 0 : 1],
                   saturated(-1, evaluate(e.args()[left ? 1 : 0], at), target));
    }
    case Expr::Kind::Mul: {
      // c x >= t where x >= t / c, rounded towards where it holds.
      bool roundUp = direction(arg) > 0;
      int64_t divisor = std::abs(e.value());
      int64_t wanted = e.value() < 0 ? -target : target;
      return reach(arg, roundUp ? -floorDivide(-wanted, divisor)
                                : floorDivide(wanted, divisor));
    }
    case Expr::Kind::FloorDiv:
      return reach(arg, saturated(target, e.value(), up ? 0 : e.value() - 1));
    default: { // Mod: an offset until the quotient changes.
      int64_t base = floorDivide(evaluate(arg, at), e.value()) * e.value();
      int64_t wrap = reach(arg, up ? base + e.value() : base - 1);
      return std::min(wrap, reach(arg, target + base));
    }
    }
  }

  /// How far a `mod` in the expression lets its direction hold.
  int64_t validity(const Expr &e) const {
    int64_t end = kNever;
    if (e.kind() == Expr::Kind::Mod && direction(e)) {
      const Expr &arg = e.args()[0];
      int64_t base = floorDivide(evaluate(arg, at), e.value()) * e.value();
      end = reach(arg, direction(arg) > 0 ? base + e.value() : base - 1);
    }
    for (const Expr &arg : e.args())
      if (arg.uses(variable))
        end = std::min(end, validity(arg));
    return end;
  }

  /// Of a chain and a value that stays, the truth changes where the chain
  /// reaches or leaves the value.
  Run compare(const Expr &e) {
    Expr a = e.args()[0], b = e.args()[1];
    int64_t truth = evaluate(e, at);
    bool chainLeft = direction(a) != 0;
    const Expr &chain = chainLeft ? a : b;
    int slope = direction(chain);
    Run other = run(chainLeft ? b : a);
    if (slope == 0)
      return {truth, std::min(run(a).end, other.end)};
    int64_t now = evaluate(chain, at), value = other.value;
    int64_t change = kNever;
    for (int64_t threshold : {value, value + slope})
      if (slope > 0 ? threshold > now : threshold < now)
        change = std::min(change, reach(chain, threshold));
    return {truth, std::min({change, other.end, validity(chain)})};
  }

  Run member(const Expr &e) {
    const Expr &chain = e.args()[0];
    int slope = direction(chain);
    int64_t now = evaluate(chain, at);
    if (slope <= 0)
      return {evaluate(e, at), run(chain).end};
    auto next = std::lower_bound(e.table().begin(), e.table().end(), now);
    int64_t end = validity(chain);
    bool inside = next != e.table().end() && *next == now;
    if (inside) {
      int64_t last = now;
      while (++next != e.table().end() && *next == last + 1)
        ++last;
      return {1, std::min(end, reach(chain, last + 1))};
    }
    if (next != e.table().end())
      end = std::min(end, reach(chain, *next));
    return {0, end};
  }

  /// A side that decides holds for as long as it decides.
  Run connective(const Expr &e) {
    bool decides = e.kind() == Expr::Kind::Or;
    Run a = run(e.args()[0]), b = run(e.args()[1]);
    bool left = bool(a.value) == decides, right = bool(b.value) == decides;
    if (left && right)
      return {decides, std::max(a.end, b.end)};
    if (left || right)
      return {decides, left ? a.end : b.end};
    return {!decides, std::min(a.end, b.end)};
  }

  Expr::Kind variable;
  Point at;
  int64_t here;
};
} // namespace

Run mlir::megactx::pattern::runAt(const Expr &expr, int64_t p, int64_t key) {
  Point at;
  at.p = p;
  at.k = key;
  Run run = Walk(Expr::Kind::Key, at).run(expr);
  return {run.value, std::max(run.end, key + 1)};
}

Run mlir::megactx::pattern::rowRunAt(const Expr &expr, int64_t p) {
  Point at;
  at.p = p;
  Run run = Walk(Expr::Kind::Position, at).run(expr);
  return {run.value, std::max(run.end, p + 1)};
}
