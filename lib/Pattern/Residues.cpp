//===- Residues.cpp - relations of residues, tabulated --------------------===//

#include "Residues.h"
#include "llvm/ADT/STLExtras.h"
#include <numeric>

using namespace mlir::megactx::pattern;

/// Steps that tables may take; some 2 ns each.
static constexpr int64_t kMaxSteps = int64_t(1) << 26;
/// Pairs that a class names.
static constexpr size_t kMaxPairs = 4096;

void Residues::add(int64_t period, const Expr &expr) {
  if (!find(expr))
    relations.push_back({period, expr, {}, {}});
}

unsigned Residues::add(const Digits &digits) {
  auto found = llvm::find_if(relations, [&](const Relation &relation) {
    return !relation.expr && relation.digits == digits;
  });
  unsigned index = found - relations.begin();
  if (found == relations.end())
    relations.push_back({digits.period, Expr(), digits, {}});
  return index;
}

std::optional<unsigned> Residues::find(const Expr &expr) const {
  for (auto [i, relation] : llvm::enumerate(relations))
    if (relation.expr && relation.expr == expr)
      return i;
  return std::nullopt;
}

void Residues::fill(Relation &relation) {
  int64_t period = relation.period;
  relation.table.assign(period * period, 0);
  for (const Digits::Class &c : relation.digits.classes)
    if (!relation.expr)
      for (int64_t query : c.queries)
        for (int64_t key : c.keys)
          relation.table[query * period + key] = 1;
  if (!relation.expr)
    return;
  Point point;
  for (point.p = 0; point.p < period; ++point.p)
    for (point.k = 0; point.k < period; ++point.k)
      relation.table[point.p * period + point.k] =
          evaluate(relation.expr, point) != 0;
}

bool Residues::tabulate() {
  std::vector<unsigned> order(relations.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::stable_sort(order, [&](unsigned a, unsigned b) {
    return relations[a].period > relations[b].period;
  });
  for (unsigned index : order) {
    int64_t period = relations[index].period;
    auto group = llvm::find_if(allGroups, [&](const Group &g) {
      return std::lcm(g.period, period) <= kMaxPeriod;
    });
    if (group == allGroups.end())
      group = allGroups.insert(allGroups.end(), Group());
    group->period = std::lcm(group->period, period);
    relations[index].group = group - allGroups.begin();
    relations[index].place = group->relations.size();
    group->relations.push_back(index);
  }
  int64_t steps = 0;
  for (const Group &group : allGroups)
    steps += group.period * group.period * int64_t(group.relations.size());
  if (steps > kMaxSteps)
    return false;
  for (Relation &relation : relations)
    fill(relation);
  for (Group &group : allGroups)
    split(group);
  for (Relation &relation : relations)
    relation.table.clear();
  return true;
}

/// Each pair of residues walks down a binary tree of relations to its class.
void Residues::split(Group &group) {
  struct Node {
    unsigned next[2] = {0, 0};
    unsigned classOf = ~0u;
  };
  std::vector<Node> tree(1);
  llvm::BitVector holds(group.relations.size());
  for (int64_t p = 0; p < group.period; ++p)
    for (int64_t k = 0; k < group.period; ++k) {
      unsigned at = 0;
      for (auto [place, index] : llvm::enumerate(group.relations)) {
        const Relation &r = relations[index];
        bool value = r.table[p % r.period * r.period + k % r.period];
        holds[place] = value;
        if (!tree[at].next[value]) {
          tree[at].next[value] = tree.size();
          tree.emplace_back();
        }
        at = tree[at].next[value];
      }
      if (tree[at].classOf == ~0u) {
        tree[at].classOf = group.classes.size();
        group.classes.push_back({holds, {}, true});
      }
      Class &c = group.classes[tree[at].classOf];
      c.hasAllPairs &= c.pairs.size() < kMaxPairs;
      if (c.hasAllPairs)
        c.pairs.push_back({p, k});
    }
}

Residues::State Residues::everything() const {
  State state;
  for (const Group &group : allGroups) {
    state.emplace_back(group.classes.size());
    std::iota(state.back().begin(), state.back().end(), 0);
  }
  return state;
}

std::optional<bool> Residues::holds(unsigned relation,
                                    const State &state) const {
  const Relation &r = relations[relation];
  const Group &group = allGroups[r.group];
  bool some = false, all = true;
  for (unsigned c : state[r.group]) {
    some |= group.classes[c].holds[r.place];
    all &= group.classes[c].holds[r.place];
  }
  return some == all ? std::optional(some) : std::nullopt;
}

Residues::State Residues::assume(unsigned relation, bool value,
                                 State state) const {
  const Relation &r = relations[relation];
  llvm::erase_if(state[r.group], [&](unsigned c) {
    return allGroups[r.group].classes[c].holds[r.place] != value;
  });
  return state;
}
