//===- Affine.cpp - cells of affine conditions ----------------------------===//

#include "Affine.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir::megactx::pattern;
using llvm::DynamicAPInt;
using mlir::presburger::IntegerPolyhedron;
using mlir::presburger::PresburgerSpace;

//===----------------------------------------------------------------------===//
// Linear forms
//===----------------------------------------------------------------------===//

std::optional<Linear> mlir::megactx::pattern::add(const Linear &a,
                                                  const Linear &b) {
  Linear sum;
  if (llvm::AddOverflow(a.constant, b.constant, sum.constant))
    return std::nullopt;
  const auto *i = a.terms.begin(), *j = b.terms.begin();
  while (i != a.terms.end() || j != b.terms.end()) {
    if (j == b.terms.end() || (i != a.terms.end() && i->first < j->first)) {
      sum.terms.push_back(*i++);
      continue;
    }
    if (i == a.terms.end() || j->first < i->first) {
      sum.terms.push_back(*j++);
      continue;
    }
    int64_t coefficient;
    if (llvm::AddOverflow(i->second, j->second, coefficient))
      return std::nullopt;
    if (coefficient != 0)
      sum.terms.push_back({i->first, coefficient});
    ++i, ++j;
  }
  return sum;
}

std::optional<Linear> mlir::megactx::pattern::scale(const Linear &a,
                                                    int64_t factor) {
  if (factor == 0)
    return Linear();
  Linear result = a;
  if (llvm::MulOverflow(a.constant, factor, result.constant))
    return std::nullopt;
  for (auto &term : result.terms)
    if (llvm::MulOverflow(term.second, factor, term.second))
      return std::nullopt;
  return result;
}

std::optional<Linear> mlir::megactx::pattern::difference(const Linear &a,
                                                         const Linear &b,
                                                         int64_t slack) {
  auto minus = scale(b, -1);
  auto result = minus ? add(a, *minus) : std::nullopt;
  return result ? add(*result, Linear{{}, -slack}) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Variables
//===----------------------------------------------------------------------===//

Variables::Variables() {
  variables = {{Expr::position(), {}, 0}, {Expr::key(), {}, 0}};
}

Linear Variables::valueOf(const Expr &expr) {
  auto found = llvm::find_if(
      variables, [&](const Variable &v) { return v.value == expr; });
  unsigned index = found - variables.begin();
  if (found == variables.end())
    variables.push_back({expr, {}, 0});
  return {{{index, 1}}, 0};
}

/// Multiples of the divisor come out of the quotient, so that equal quotients
/// are more often one variable.
std::optional<Linear> Variables::floorDiv(const Linear &dividend,
                                          int64_t divisor) {
  Linear outside, inside;
  outside.constant = floorDivide(dividend.constant, divisor);
  inside.constant = floorMod(dividend.constant, divisor);
  for (auto [variable, coefficient] : dividend.terms) {
    if (int64_t quotient = floorDivide(coefficient, divisor))
      outside.terms.push_back({variable, quotient});
    if (int64_t rest = floorMod(coefficient, divisor))
      inside.terms.push_back({variable, rest});
  }
  if (inside.isConstant())
    return outside;
  auto found = llvm::find_if(variables, [&](const Variable &v) {
    return !v.value && v.divisor == divisor && v.dividend == inside;
  });
  unsigned index = found - variables.begin();
  if (found == variables.end())
    variables.push_back({Expr(), std::move(inside), divisor});
  return add(outside, Linear{{{index, 1}}, 0});
}

bool Variables::isPlain(unsigned variable) const {
  const Expr &value = variables[variable].value;
  if (!value)
    return false;
  Expr::Kind kind = value.kind();
  return kind == Expr::Kind::Position || kind == Expr::Kind::Key ||
         kind == Expr::Kind::Head || kind == Expr::Kind::Batch ||
         kind == Expr::Kind::Symbol;
}

//===----------------------------------------------------------------------===//
// Cells
//===----------------------------------------------------------------------===//

namespace {
/// sign * part >= -constant, or (sign < 0) part <= constant.
struct Normal {
  Linear part;
  bool isLower;
  int64_t limit;
};
} // namespace

/// form >= 0 as a limit on a part whose coefficients have no common divisor.
static Normal normalize(const Linear &form) {
  int64_t divisor = 0;
  for (auto [variable, coefficient] : form.terms)
    divisor = std::gcd(divisor, coefficient);
  Normal normal;
  normal.isLower = form.terms.front().second > 0;
  for (auto [variable, coefficient] : form.terms) {
    int64_t reduced = coefficient / divisor;
    normal.part.terms.push_back(
        {variable, normal.isLower ? reduced : -reduced});
  }
  int64_t slack = floorDivide(form.constant, divisor);
  normal.limit = normal.isLower ? -slack : slack;
  return normal;
}

std::optional<bool> Cell::isNonNegative(const Linear &form) const {
  if (form.isConstant())
    return form.constant >= 0;
  Normal normal = normalize(form);
  for (const Bound &bound : bounds) {
    if (!(bound.form == normal.part))
      continue;
    const auto &same = normal.isLower ? bound.low : bound.high;
    const auto &other = normal.isLower ? bound.high : bound.low;
    auto isBeyond = [&](int64_t x, int64_t y) {
      return normal.isLower ? x > y : x < y;
    };
    if (same && !isBeyond(normal.limit, *same))
      return true;
    if (other && isBeyond(normal.limit, *other))
      return false;
  }
  return std::nullopt;
}

void Cell::keep(const Linear &form, bool nonNegative) {
  Normal normal = normalize(form);
  // Else part < limit, or part > limit.
  if (!nonNegative) {
    normal.limit += normal.isLower ? -1 : 1;
    normal.isLower = !normal.isLower;
  }
  auto found = llvm::find_if(
      bounds, [&](const Bound &b) { return b.form == normal.part; });
  if (found == bounds.end())
    found = bounds.insert(bounds.end(), {std::move(normal.part), {}, {}});
  if (normal.isLower)
    found->low = std::max(found->low.value_or(INT64_MIN), normal.limit);
  else
    found->high = std::min(found->high.value_or(INT64_MAX), normal.limit);
}

/// The cell with a column for each variable that it speaks of. p and k are the
/// first columns.
struct Cell::Polyhedron {
  IntegerPolyhedron set{PresburgerSpace::getSetSpace(0)};
  std::vector<unsigned> variableOf; ///< a column's variable
  static constexpr unsigned kNone = ~0u;

  /// scale * form + offset >= 0.
  void inequality(const Linear &form, int64_t sign, const DynamicAPInt &offset,
                  unsigned quotient = kNone, int64_t divisor = 0) {
    llvm::SmallVector<DynamicAPInt, 8> row(variableOf.size() + 1);
    for (auto [variable, coefficient] : form.terms)
      row[column(variable)] = DynamicAPInt(coefficient) * sign;
    if (quotient != kNone)
      row[column(quotient)] -= DynamicAPInt(divisor) * sign;
    row.back() = offset;
    set.addInequality(row);
  }
  unsigned column(unsigned variable) const {
    return llvm::find(variableOf, variable) - variableOf.begin();
  }
};

Cell::Polyhedron Cell::polyhedron(const Variables &variables) const {
  Polyhedron result;
  result.variableOf = {Variables::kQuery, Variables::kKey};
  auto use = [&](const Linear &form) {
    for (auto [variable, coefficient] : form.terms)
      if (!llvm::is_contained(result.variableOf, variable))
        result.variableOf.push_back(variable);
  };
  for (const Bound &bound : bounds)
    use(bound.form);
  for (size_t i = 0; i < result.variableOf.size(); ++i)
    use(variables.all()[result.variableOf[i]].dividend);
  unsigned count = result.variableOf.size();
  result.set =
      IntegerPolyhedron(PresburgerSpace::getSetSpace(count + residues.size()));
  // A column for the quotient of each residue, which no variable names.
  result.variableOf.resize(count + residues.size(), Polyhedron::kNone);
  for (auto [i, residue] : llvm::enumerate(residues)) {
    llvm::SmallVector<DynamicAPInt, 8> row(result.variableOf.size() + 1);
    row[result.column(residue.variable)] = 1;
    row[count + i] = -DynamicAPInt(residue.period);
    row.back() = -DynamicAPInt(residue.residue);
    result.set.addEquality(row);
  }
  for (const Bound &bound : bounds) {
    if (bound.low)
      result.inequality(bound.form, 1, -DynamicAPInt(*bound.low));
    if (bound.high)
      result.inequality(bound.form, -1, DynamicAPInt(*bound.high));
  }
  for (unsigned i = 0; i < count; ++i) {
    unsigned index = result.variableOf[i];
    const Variables::Variable &variable = variables.all()[index];
    if (!variable.value) {
      // 0 <= dividend - divisor * quotient <= divisor - 1.
      DynamicAPInt constant(variable.dividend.constant);
      DynamicAPInt most(variable.divisor - 1);
      result.inequality(variable.dividend, 1, constant, index,
                        variable.divisor);
      result.inequality(variable.dividend, -1, most - constant, index,
                        variable.divisor);
    } else if (variable.value.kind() == Expr::Kind::Head ||
               variable.value.kind() == Expr::Kind::Batch) {
      result.inequality(Linear{{{index, 1}}, 0}, 1, DynamicAPInt(0));
    }
  }
  return result;
}

bool Cell::isEmpty(const Variables &variables) const {
  return polyhedron(variables).set.isIntegerEmpty();
}

std::optional<Values> Cell::sample(const Variables &variables) const {
  Polyhedron all = polyhedron(variables), nice = all;
  for (unsigned index : all.variableOf)
    if (index != Polyhedron::kNone && variables.isPlain(index))
      nice.inequality(Linear{{{index, 1}}, 0}, 1, DynamicAPInt(0));
  std::optional<llvm::SmallVector<DynamicAPInt, 8>> point;
  auto least = nice.set.findIntegerLexMin();
  if (least.isBounded())
    point = *least;
  else
    point = nice.set.findIntegerSample();
  if (!point)
    point = all.set.findIntegerSample();
  if (!point)
    return std::nullopt;
  Values values(variables.all().size(), 0);
  for (auto [index, value] : llvm::zip(all.variableOf, *point)) {
    if (index == Polyhedron::kNone)
      continue;
    if (value > DynamicAPInt(INT64_MAX) || value < DynamicAPInt(INT64_MIN))
      return std::nullopt;
    values[index] = static_cast<int64_t>(value);
  }
  return values;
}
