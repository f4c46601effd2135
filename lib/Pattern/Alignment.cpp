//===- Alignment.cpp - strides, blocks and gist boundaries ----------------===//

#include "megactx/Pattern/Alignment.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>
#include <set>

using namespace mlir::megactx::pattern;

/// Numbers by which positions are divided.
static void collectDivisors(const Expr &e, std::set<int64_t> &periods) {
  if (!e)
    return;
  bool divides =
      e.kind() == Expr::Kind::FloorDiv || e.kind() == Expr::Kind::Mod;
  if (divides && (e.args()[0].kind() == Expr::Kind::Position ||
                  e.args()[0].kind() == Expr::Kind::Key))
    periods.insert(e.value());
  for (const Expr &arg : e.args())
    collectDivisors(arg, periods);
}

static std::set<int64_t> periodsOf(const Formula &formula) {
  std::set<int64_t> periods;
  for (const Atom &atom : formula.atoms()) {
    if (atom.kind == Atom::Kind::Digit)
      periods.insert(atom.value);
    else
      collectDivisors(atom.expr, periods);
  }
  return periods;
}

static bool isAligned(int64_t period, int64_t gist) {
  return period % gist == 0 || gist % period == 0;
}

/// `steps` ascend from 1. Where each is a multiple of the one before, what is
/// aligned to all of them lies between two, as a multiple of one that divides
/// the next, or is a multiple of the last.
static int64_t nearestAligned(int64_t period, llvm::ArrayRef<int64_t> steps) {
  int64_t nearest = 1;
  auto consider = [&](int64_t candidate) {
    if (!llvm::all_of(steps,
                      [&](int64_t s) { return isAligned(candidate, s); }))
      return;
    int64_t distance = std::abs(candidate - period);
    int64_t best = std::abs(nearest - period);
    if (distance < best || (distance == best && candidate > nearest))
      nearest = candidate;
  };
  for (size_t i = 0; i + 1 < steps.size(); ++i) {
    int64_t ratio = steps[i + 1] / steps[i];
    for (int64_t d = 1; d * d <= ratio; ++d)
      if (ratio % d == 0) {
        consider(steps[i] * d);
        consider(steps[i] * (ratio / d));
      }
  }
  int64_t last = steps.back();
  if (period > last)
    consider(period / last * last);
  consider((period / last + 1) * last);
  return nearest;
}

static void collect(const Pattern &pattern, llvm::ArrayRef<int64_t> steps,
                    std::vector<Misalignment> &result) {
  const Pattern::Node &node = pattern.getNode();
  for (const Pattern &operand : node.operands)
    collect(operand, steps, result);
  if (node.kind != Pattern::Kind::Named || pattern.keySteps().size() > 1)
    return;
  std::string text = pattern.str();
  auto isKnown = [&](const Misalignment &m) { return m.pattern == text; };
  if (llvm::any_of(result, isKnown))
    return;
  for (int64_t period : periodsOf(pattern.formula()))
    for (int64_t gist : steps) {
      if (isAligned(period, gist))
        continue;
      int64_t divisor = std::gcd(period, gist);
      uint64_t repeats =
          llvm::SaturatingMultiply<uint64_t>(period / divisor, gist);
      result.push_back({text, period, gist, divisor, std::max(period, gist),
                        int64_t(std::min<uint64_t>(repeats, INT64_MAX)),
                        nearestAligned(period, steps)});
      break;
    }
}

std::vector<Misalignment>
mlir::megactx::pattern::misalignments(const Pattern &pattern, int64_t gist) {
  std::vector<int64_t> steps = pattern.keySteps();
  if (steps.size() == 1 && gist > 1)
    steps.push_back(gist);
  std::vector<Misalignment> result;
  collect(pattern, steps, result);
  return result;
}
