//===- KeyRuns.cpp - where an expression stays along the keys -------------===//

#include "KeyRuns.h"
#include <algorithm>

using namespace mlir::megactx::pattern;
using Kind = Expr::Kind;

static constexpr int64_t kNever = INT64_MAX;
/// Runs remembered of one term: memory stays bounded.
static constexpr size_t kMaxSpans = 4096;

/// a * b + c within 2^62: positions beyond are never asked for.
static int64_t saturated(int64_t a, int64_t b, int64_t c = 0) {
  constexpr __int128 limit = __int128(1) << 62;
  __int128 exact = __int128(a) * b + c;
  return int64_t(std::clamp(exact, -limit, limit));
}

Walk::Walk(const Expr &e, Kind variable)
    : expr(e), nodes(expr.getNodes()), variable(variable),
      states(nodes.size()) {
  for (unsigned n = 0; n < nodes.size(); ++n)
    describe(n);
  // Remembered are terms of the variable alone where they meet others, but for
  // chains, which comparisons solve.
  for (unsigned n = 0; n < nodes.size(); ++n) {
    bool compares = nodes[n].kind == Kind::Equal ||
                    nodes[n].kind == Kind::Less || nodes[n].kind == Kind::In;
    for (unsigned arg : llvm::ArrayRef(nodes[n].arg, nodes[n].args)) {
      State &state = states[arg];
      state.remembers |= states[n].uses && state.moves && !state.uses &&
                         nodes[arg].args > 0 && !(compares && state.slope);
    }
  }
}

/// What follows from the operands of a node.
void Walk::describe(unsigned n) {
  const FlatExpr::Node &node = nodes[n];
  State &state = states[n];
  Kind other = variable == Kind::Key ? Kind::Position : Kind::Key;
  state.moves = node.kind == variable;
  state.uses = node.kind == other;
  int moving = 0, slope = 0;
  for (unsigned arg : llvm::ArrayRef(node.arg, node.args)) {
    const State &from = states[arg];
    state.moves |= from.moves;
    state.uses |= from.uses;
    state.wraps |= from.wraps;
    if (from.moves)
      ++moving, slope = from.slope;
  }
  state.wraps |= node.kind == Kind::Mod && state.moves;
  switch (node.kind) {
  case Kind::Add:
    state.slope = moving == 1 ? slope : 0;
    break;
  case Kind::Mul:
    state.slope = node.value < 0 ? -slope : slope;
    break;
  case Kind::FloorDiv:
  case Kind::Mod:
    state.slope = slope;
    break;
  default:
    state.slope = node.kind == variable;
  }
  if (state.moves)
    return;
  if (state.uses)
    staying.push_back(n);
  else
    value(n);
}

void Walk::fix(int64_t other) {
  (variable == Kind::Key ? point.p : point.k) = other;
  ++time;
  for (unsigned n : staying) {
    states[n].valueTime = 0;
    value(n);
  }
}

Run Walk::at(int64_t position) {
  here = position;
  (variable == Kind::Key ? point.k : point.p) = position;
  ++time;
  Run result = run(expr.root());
  return {result.value, std::max(result.end, position + 1)};
}

int64_t Walk::value(unsigned n) {
  State &state = states[n];
  return state.remembers ? run(n).value : compute(n);
}

int64_t Walk::compute(unsigned n) {
  State &state = states[n];
  if (state.moves ? state.valueTime == time : state.valueTime != 0)
    return state.value;
  const FlatExpr::Node &node = nodes[n];
  int64_t result = 0;
  if (node.args == 0 || node.kind == Kind::Operand) {
    result = evaluate(node.expr, point);
  } else if (node.kind == Kind::And || node.kind == Kind::Or) {
    bool decides = node.kind == Kind::Or;
    result = bool(value(node.arg[0])) == decides ? decides
                                                 : bool(value(node.arg[1]));
  } else {
    result =
        applyOperator(node.kind, node.value, node.table, value(node.arg[0]),
                      node.args > 1 ? value(node.arg[1]) : 0);
  }
  state.value = result;
  state.valueTime = state.moves ? time : 1;
  return result;
}

Run Walk::run(unsigned n) {
  State &state = states[n];
  if (!state.moves)
    return {state.value, kNever};
  if (state.runTime == time)
    return state.run;
  Run result = state.remembers ? remembered(n) : computeRun(n);
  state.run = result;
  state.runTime = time;
  return result;
}

Run Walk::remembered(unsigned n) {
  State &state = states[n];
  std::vector<Span> &spans = state.spans;
  auto holds = [&](size_t i) {
    return i < spans.size() && spans[i].begin <= here && here < spans[i].end;
  };
  for (size_t i : {state.cursor, state.cursor + 1})
    if (holds(i)) {
      state.cursor = i;
      return {spans[i].value, spans[i].end};
    }
  auto next = std::upper_bound(
      spans.begin(), spans.end(), here,
      [](int64_t x, const Span &span) { return x < span.begin; });
  size_t i = next - spans.begin();
  if (i == 0 || !holds(i - 1)) {
    Run found = computeRun(n);
    found.end = std::max(found.end, here + 1);
    if (spans.size() >= kMaxSpans)
      return found;
    spans.insert(next, {here, found.end, found.value});
    ++i;
  }
  state.cursor = i - 1;
  return {spans[i - 1].value, spans[i - 1].end};
}

Run Walk::computeRun(unsigned n) {
  const FlatExpr::Node &node = nodes[n];
  switch (node.kind) {
  case Kind::Equal:
  case Kind::Less:
    return compare(n);
  case Kind::In:
    return member(n);
  case Kind::And:
  case Kind::Or:
    return connective(n);
  default:
    break;
  }
  int64_t now = compute(n);
  if (int slope = states[n].slope)
    return {now, reach(n, now + slope)};
  int64_t end = kNever;
  for (unsigned arg : llvm::ArrayRef(node.arg, node.args))
    end = std::min(end, run(arg).end);
  return {now, node.args == 0 ? here + 1 : end};
}

/// The first place from here on at which the node has reached `target` in its
/// direction, or from which its direction no longer holds.
int64_t Walk::reach(unsigned n, int64_t target) {
  const FlatExpr::Node &node = nodes[n];
  bool up = states[n].slope > 0;
  if (node.kind == variable)
    return std::max(here, target);
  unsigned arg = node.arg[0];
  switch (node.kind) {
  case Kind::Add: {
    bool left = states[arg].moves;
    return reach(node.arg[left ? 0 : 1],
                 saturated(-1, value(node.arg[left ? 1 : 0]), target));
  }
  case Kind::Mul: {
    // c x >= t where x >= t / c, rounded towards where it holds.
    int64_t divisor = std::abs(node.value);
    int64_t wanted = node.value < 0 ? -target : target;
    return reach(arg, states[arg].slope > 0 ? -floorDivide(-wanted, divisor)
                                            : floorDivide(wanted, divisor));
  }
  case Kind::FloorDiv:
    return reach(arg, saturated(target, node.value, up ? 0 : node.value - 1));
  default: { // Mod: an offset until the quotient changes.
    int64_t base = floorDivide(value(arg), node.value) * node.value;
    int64_t wrap = reach(arg, up ? base + node.value : base - 1);
    return std::min(wrap, reach(arg, target + base));
  }
  }
}

/// How far a `mod` in the node lets its direction hold.
int64_t Walk::validity(unsigned n) {
  if (!states[n].wraps)
    return kNever;
  const FlatExpr::Node &node = nodes[n];
  int64_t end = kNever;
  if (node.kind == Kind::Mod && states[n].slope) {
    unsigned arg = node.arg[0];
    int64_t base = floorDivide(value(arg), node.value) * node.value;
    end = reach(arg, states[arg].slope > 0 ? base + node.value : base - 1);
  }
  for (unsigned arg : llvm::ArrayRef(node.arg, node.args))
    end = std::min(end, validity(arg));
  return end;
}

/// Of a chain and a value that stays, the truth changes where the chain
/// reaches or leaves the value.
Run Walk::compare(unsigned n) {
  unsigned a = nodes[n].arg[0], b = nodes[n].arg[1];
  int64_t truth = compute(n);
  bool chainLeft = states[a].slope != 0;
  unsigned chain = chainLeft ? a : b;
  int slope = states[chain].slope;
  Run other = run(chainLeft ? b : a);
  if (slope == 0)
    return {truth, std::min(run(chain).end, other.end)};
  int64_t now = value(chain), change = kNever;
  for (int64_t threshold : {other.value, other.value + slope})
    if (slope > 0 ? threshold > now : threshold < now)
      change = std::min(change, reach(chain, threshold));
  return {truth, std::min({change, other.end, validity(chain)})};
}

Run Walk::member(unsigned n) {
  unsigned chain = nodes[n].arg[0];
  llvm::ArrayRef<int64_t> table = nodes[n].table;
  int64_t now = value(chain);
  if (states[chain].slope <= 0)
    return {compute(n), run(chain).end};
  const int64_t *next = std::lower_bound(table.begin(), table.end(), now);
  int64_t end = validity(chain);
  if (next != table.end() && *next == now) {
    int64_t last = now;
    while (++next != table.end() && *next == last + 1)
      ++last;
    return {1, std::min(end, reach(chain, last + 1))};
  }
  if (next != table.end())
    end = std::min(end, reach(chain, *next));
  return {0, end};
}

/// A side that decides holds for as long as it decides.
Run Walk::connective(unsigned n) {
  bool decides = nodes[n].kind == Kind::Or;
  Run a = run(nodes[n].arg[0]), b = run(nodes[n].arg[1]);
  bool left = bool(a.value) == decides, right = bool(b.value) == decides;
  if (left && right)
    return {decides, std::max(a.end, b.end)};
  if (left || right)
    return {decides, left ? a.end : b.end};
  return {!decides, std::min(a.end, b.end)};
}
