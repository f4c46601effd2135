//===- PatternOf.cpp - conditions as patterns -----------------------------===//
//
// A condition is compared with the places of candidate patterns, whose
// parameters are read off its extent and its digits. What equals none is taken
// apart at its connectives.
//
//===----------------------------------------------------------------------===//

#include "Masks.h"
#include "mlir/Analysis/Presburger/Simplex.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;
using presburger::PresburgerSet;

namespace {
/// A pattern's text with its condition on positions.
struct Candidate {
  std::string text;
  Condition condition;
};

class Namer {
public:
  Namer(Positions &positions)
      : positions(positions), p(positions.variable(kQuery)),
        k(positions.variable(kKey)) {}

  /// The pattern's text, or empty.
  std::string name(const Condition &condition);

private:
  std::optional<int64_t> most(const PresburgerSet &set, int64_t query,
                              int64_t key);
  Candidate window(std::optional<int64_t> left, std::optional<int64_t> right);
  std::vector<Candidate> candidates(const Condition &condition,
                                    const PresburgerSet &set);
  Candidate blocksWithin(int64_t block, std::optional<int64_t> left,
                         std::optional<int64_t> right);
  void addDigits(const Condition &condition, std::optional<int64_t> left,
                 std::optional<int64_t> right,
                 std::vector<Candidate> &candidates);

  Positions &positions;
  AffineExpr p, k;
};
} // namespace

/// The greatest query * p + key * k over a set, where there is one.
std::optional<int64_t> Namer::most(const PresburgerSet &set, int64_t query,
                                   int64_t key) {
  std::optional<int64_t> most;
  for (const presburger::IntegerRelation &part : set.getAllDisjuncts()) {
    if (part.isIntegerEmpty())
      continue;
    SmallVector<llvm::DynamicAPInt> objective(part.getNumVars() + 1);
    objective[kQuery] = llvm::DynamicAPInt(query);
    objective[kKey] = llvm::DynamicAPInt(key);
    presburger::Simplex simplex(part);
    auto optimum =
        simplex.computeOptimum(presburger::Simplex::Direction::Up, objective);
    if (!optimum.isBounded())
      return std::nullopt;
    int64_t value = int64_t(presburger::floor(*optimum));
    most = std::max(most.value_or(value), value);
  }
  return most;
}

/// p - left <= k <= p + right; nothing is open. A side that excludes the
/// query's own position is the complement of a window on the other side.
Candidate Namer::window(std::optional<int64_t> left,
                        std::optional<int64_t> right) {
  Condition condition = Condition::constant(true);
  std::string outside;
  auto exclude = [&](const Twine &text) {
    outside += (" minus " + text).str();
  };
  std::string leftText = "-1", rightText = "-1";
  if (left) {
    condition = condition && Condition::nonNegative(k - p + *left);
    if (*left >= 0)
      leftText = std::to_string(*left);
    else
      exclude("window<left = -1, right = " + Twine(-*left - 1) + ">");
  }
  if (right) {
    condition = condition && Condition::nonNegative(p - k + *right);
    if (*right >= 0)
      rightText = std::to_string(*right);
    else
      exclude("window<left = " + Twine(-*right - 1) + ", right = -1>");
  }
  std::string inside =
      leftText == "-1" && rightText == "-1" ? "dense"
      : leftText == "-1" && rightText == "0"
          ? "causal"
          : "window<left = " + leftText + ", right = " + rightText + ">";
  return {inside + outside, condition};
}

/// The query's block of so many positions, and as many before it and after it
/// as have keys at most `left` before a query, or `right` after it.
Candidate Namer::blocksWithin(int64_t block, std::optional<int64_t> left,
                              std::optional<int64_t> right) {
  std::string text = "block_local<block = " + std::to_string(block);
  Condition condition = Condition::constant(true);
  AffineExpr ahead = k.floorDiv(block) - p.floorDiv(block);
  auto add = [&](StringRef name, std::optional<int64_t> most, int64_t sign) {
    int64_t count = most ? std::max<int64_t>(*most, 0) / block : -1;
    if (count != 0)
      text += (", " + name + " = " + Twine(count)).str();
    if (most)
      condition = condition && Condition::nonNegative(sign * ahead + count);
  };
  add("left", left, 1);
  add("right", right, -1);
  return {text + ">", condition};
}

/// Patterns of the periods and blocks that the condition names.
void Namer::addDigits(const Condition &condition, std::optional<int64_t> left,
                      std::optional<int64_t> right,
                      std::vector<Candidate> &candidates) {
  llvm::SmallSetVector<int64_t, 4> periods, blocks;
  condition.walk([&](const Condition &part) {
    if (!part.expr())
      return;
    part.expr().walk([&](AffineExpr expr) {
      auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
      auto number =
          binary ? dyn_cast<AffineConstantExpr>(binary.getRHS()) : nullptr;
      if (!number || number.getValue() < 2)
        return;
      if (binary.getKind() == AffineExprKind::Mod)
        periods.insert(number.getValue());
      if (binary.getKind() == AffineExprKind::FloorDiv)
        blocks.insert(number.getValue());
    });
  });
  for (int64_t s : periods)
    candidates.push_back({"strided<stride = " + std::to_string(s) + ">",
                          Condition::zero((p - k) % s)});
  for (int64_t l : blocks)
    candidates.push_back(blocksWithin(l, left, right));
}

std::vector<Candidate> Namer::candidates(const Condition &condition,
                                         const PresburgerSet &set) {
  auto right = most(set, -1, 1), left = most(set, 1, -1);
  std::vector<Candidate> all = {window({}, right), window(left, {}),
                                window(left, right)};
  addDigits(condition, left, right, all);
  if (auto last = most(set, 0, 1))
    all.push_back({"global_keys<first = " + std::to_string(*last + 1) + ">",
                   Condition::nonNegative(-k + *last)});
  if (auto last = most(set, 1, 0); last && *last >= 0)
    all.push_back({"global_queries<first = " + std::to_string(*last + 1) + ">",
                   Condition::nonNegative(-p + *last)});
  return all;
}

std::string Namer::name(const Condition &condition) {
  auto set = positions.places(condition);
  if (!set || set->isIntegerEmpty())
    return "";
  if (positions.holds(condition))
    return "dense";
  for (Candidate &candidate : candidates(condition, *set)) {
    auto places = positions.places(candidate.condition);
    // Sets of residues are taken for equal to what they are not: conditions
    // have to imply each other, too.
    if (places && places->isEqual(*set) &&
        positions.holds(!(condition && !candidate.condition)) &&
        positions.holds(!(candidate.condition && !condition)))
      return candidate.text;
  }
  // Connectives.
  auto kind = condition.kind();
  if (kind == Condition::Kind::Not) {
    std::string inner = name(condition.args()[0]);
    return inner.empty() ? "" : "dense minus (" + inner + ")";
  }
  if (kind != Condition::Kind::And && kind != Condition::Kind::Or)
    return "";
  std::string joined;
  for (const Condition &arg : condition.args()) {
    std::string inner = name(arg);
    if (inner.empty())
      return "";
    if (!joined.empty())
      joined += kind == Condition::Kind::And ? " and " : " or ";
    joined += "(" + inner + ")";
  }
  return joined;
}

std::optional<pattern::Pattern>
mlir::megactx::raise::patternOf(const Condition &condition,
                                Positions &positions) {
  if (!condition.isStatic())
    return std::nullopt;
  std::string text = Namer(positions).name(condition);
  if (text.empty())
    return std::nullopt;
  return pattern::Pattern::parse(text, [](size_t, const Twine &) {});
}
