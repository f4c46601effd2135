//===- Symbolic.cpp - conditions at all elements of a cell ----------------===//

#include "Symbolic.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir::megactx::pattern;

/// Runs of equal entries in a table that are told apart.
static constexpr size_t kMaxRuns = 64;
/// Numbers beyond are not looked into.
static constexpr int64_t kMost = int64_t(1) << 61;

std::optional<bool> Symbolic::atLeast(const Linear &a, const Linear &b,
                                      int64_t slack) {
  std::optional<Linear> form = difference(a, b, slack);
  auto isLarge = [](int64_t x) { return x > kMost || x < -kMost; };
  if (!form || isLarge(form->constant) ||
      llvm::any_of(form->terms, [&](auto t) { return isLarge(t.second); })) {
    overflow = true;
    return false;
  }
  std::optional<bool> known = at->cell.isNonNegative(*form);
  if (!known)
    pending = {*form, std::nullopt};
  return known;
}

std::optional<bool> Symbolic::atLeast(const Expr &a, const Expr &b) {
  std::optional<Linear> left = value(a);
  std::optional<Linear> right = left ? value(b) : std::nullopt;
  return right ? atLeast(*left, *right) : std::nullopt;
}

std::optional<bool> Symbolic::equal(const Linear &a, const Linear &b) {
  std::optional<bool> above = atLeast(a, b);
  return above && *above ? atLeast(b, a) : above;
}

std::optional<bool> Symbolic::related(unsigned relation) {
  std::optional<bool> known = residues.holds(relation, at->residues);
  if (!known)
    pending = {{}, relation};
  return known;
}

Linear Symbolic::free(const Expr &expr) {
  unknown = expr;
  return variables.valueOf(expr);
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

static std::optional<bool> negated(std::optional<bool> value) {
  return value ? std::optional(!*value) : std::nullopt;
}

std::optional<bool> Symbolic::truth(const Expr &expr) {
  if (auto relation = residues.find(expr))
    return related(*relation);
  llvm::ArrayRef<Expr> args = expr.args();
  switch (expr.kind()) {
  case Expr::Kind::Not:
    return negated(truth(args[0]));
  case Expr::Kind::And:
  case Expr::Kind::Or: {
    std::optional<bool> first = truth(args[0]);
    bool decides = expr.kind() == Expr::Kind::Or;
    return !first || *first == decides ? first : truth(args[1]);
  }
  case Expr::Kind::Less:
    return negated(atLeast(args[0], args[1]));
  case Expr::Kind::Equal: {
    std::optional<Linear> a = value(args[0]);
    std::optional<Linear> b = a ? value(args[1]) : std::nullopt;
    return b ? equal(*a, *b) : std::nullopt;
  }
  default:
    std::optional<Linear> number = value(expr);
    return number ? negated(equal(*number, Linear())) : std::nullopt;
  }
}

std::optional<Linear> Symbolic::extremum(const Expr &expr) {
  std::optional<Linear> a = value(expr.args()[0]);
  std::optional<Linear> b = a ? value(expr.args()[1]) : std::nullopt;
  std::optional<bool> above = b ? atLeast(*a, *b) : std::nullopt;
  if (!above)
    return std::nullopt;
  return *above == (expr.kind() == Expr::Kind::Max) ? a : b;
}

/// Table and In: both are constant on runs of indices.
std::optional<Linear> Symbolic::entry(const Expr &expr) {
  std::vector<std::pair<int64_t, int64_t>> runs; // first index, value
  auto append = [&](int64_t first, int64_t value) {
    // Values from `first` on replace what was said of them.
    if (!runs.empty() && runs.back().first == first)
      runs.pop_back();
    if ((runs.empty() ? 0 : runs.back().second) != value)
      runs.push_back({first, value});
  };
  for (auto [i, value] : llvm::enumerate(expr.table())) {
    if (expr.kind() == Expr::Kind::Table) {
      append(i, value);
      continue;
    }
    append(value, 1);
    append(value + 1, 0);
  }
  if (expr.kind() == Expr::Kind::Table)
    append(expr.table().size(), 0);
  if (runs.size() > kMaxRuns)
    return free(expr);
  std::optional<Linear> index = value(expr.args()[0]);
  if (!index)
    return std::nullopt;
  for (auto [first, value] : llvm::reverse(runs)) {
    std::optional<bool> reached = atLeast(*index, Linear{{}, first});
    if (!reached)
      return std::nullopt;
    if (*reached)
      return Linear{{}, value};
  }
  return Linear();
}

std::optional<Linear> Symbolic::value(const Expr &expr) {
  // Overflow gives nothing, as does what is not decided.
  auto orFree = [&](std::optional<Linear> result) {
    return result ? result : std::optional(free(expr));
  };
  auto arg = [&](unsigned i) { return value(expr.args()[i]); };
  switch (expr.kind()) {
  case Expr::Kind::Constant:
    return Linear{{}, expr.value()};
  case Expr::Kind::Position:
  case Expr::Kind::Key:
  case Expr::Kind::Head:
  case Expr::Kind::Batch:
  case Expr::Kind::Symbol:
    return variables.valueOf(expr);
  case Expr::Kind::Add: {
    std::optional<Linear> a = arg(0), b = a ? arg(1) : std::nullopt;
    return b ? orFree(add(*a, *b)) : std::nullopt;
  }
  case Expr::Kind::Mul: {
    std::optional<Linear> a = arg(0);
    return a ? orFree(scale(*a, expr.value())) : std::nullopt;
  }
  case Expr::Kind::FloorDiv: {
    std::optional<Linear> a = arg(0);
    return a ? orFree(variables.floorDiv(*a, expr.value())) : std::nullopt;
  }
  case Expr::Kind::Mod: {
    std::optional<Linear> a = arg(0);
    if (!a)
      return std::nullopt;
    auto quotient = variables.floorDiv(*a, expr.value());
    auto multiple = quotient ? scale(*quotient, expr.value()) : std::nullopt;
    return orFree(multiple ? difference(*a, *multiple) : std::nullopt);
  }
  case Expr::Kind::Min:
  case Expr::Kind::Max:
    return extremum(expr);
  case Expr::Kind::Table:
  case Expr::Kind::In:
    return entry(expr);
  case Expr::Kind::Equal:
  case Expr::Kind::Less:
  case Expr::Kind::And:
  case Expr::Kind::Or:
  case Expr::Kind::Not: {
    std::optional<bool> holds = truth(expr);
    return holds ? std::optional(Linear{{}, *holds}) : std::nullopt;
  }
  default:
    return free(expr);
  }
}

//===----------------------------------------------------------------------===//
// Formulas and pieces
//===----------------------------------------------------------------------===//

std::optional<bool> Symbolic::holds(const Formula &formula) {
  switch (formula.kind()) {
  case Formula::Kind::True:
  case Formula::Kind::False:
    return formula.isTrue();
  case Formula::Kind::Not:
    return negated(holds(formula.args()[0]));
  case Formula::Kind::And: {
    std::optional<bool> first = holds(formula.args()[0]);
    return first && *first ? holds(formula.args()[1]) : first;
  }
  case Formula::Kind::Atom:
    break;
  }
  const Atom &atom = formula.atom();
  switch (atom.kind) {
  case Atom::Kind::Row:
    return negated(atLeast(Expr::position(), Expr::constant(atom.value)));
  case Atom::Kind::Cut:
    return negated(atLeast(Expr::key(), atom.expr));
  default:
    return truth(atom.expr);
  }
}

std::optional<bool> Symbolic::holds(const Piece &piece,
                                    std::optional<unsigned> relation) {
  Expr p = Expr::position(), k = Expr::key();
  std::optional<bool> all = piece.heads ? truth(piece.heads) : true;
  auto also = [&](auto condition) {
    if (all && *all)
      all = condition();
  };
  if (piece.rowBegin != -Piece::kOpen)
    also([&] { return atLeast(p, Expr::constant(piece.rowBegin)); });
  if (piece.rowEnd != Piece::kOpen)
    also([&] { return negated(atLeast(p, Expr::constant(piece.rowEnd))); });
  for (const Expr &bound : piece.lo)
    also([&] { return atLeast(k, bound); });
  for (const Expr &bound : piece.hi)
    also([&] { return negated(atLeast(k, bound)); });
  if (relation)
    also([&] { return related(*relation); });
  if (piece.test)
    also([&] { return truth(piece.test); });
  return all;
}
