//===- Expand.cpp - from formulas to disjoint pieces ----------------------===//
//
// Branches on Head, Row and Cut atoms (Shannon expansion) and stops where the
// rest of the formula holds none.
//
//===----------------------------------------------------------------------===//

#include "KeyRuns.h"
#include "megactx/Pattern/Prove.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <numeric>

using namespace mlir::megactx::pattern;

namespace {
class Expander {
public:
  std::optional<std::vector<Piece>> run(const Formula &formula,
                                        std::string &error) {
    if (!branch(formula, Piece(), llvm::BitVector(kHeads, true))) {
      error = ("pattern has more than " + llvm::Twine(kMaxPieces) + " pieces")
                  .str();
      return std::nullopt;
    }
    mergeNeighbours();
    std::vector<Piece> result;
    bool isCheap = leaves.size() <= kMaxProvedLeaves;
    for (auto &[piece, rest] : leaves)
      if (!(isCheap && neverHolds(piece)) && finish(piece, rest))
        result.push_back(std::move(piece));
    return result;
  }

private:
  /// More leaves than this are not asked whether they are empty.
  static constexpr size_t kMaxProvedLeaves = 256;

  /// From so many cuts on each is asked before there are leaves: of many cuts
  /// most leaves are empty, and there may be 2 to their number.
  static constexpr size_t kFewCuts = 4;

  /// Whether no element meets the bounds: `contradicts` for bounds of any base.
  static bool neverHolds(const Piece &piece) {
    return !piece.lo.empty() && !piece.hi.empty() &&
           prove(Formula(false), piece).isProved();
  }

  /// Choices of heads repeat within so many or are ranges of heads.
  static constexpr int64_t kHeads = 4096;

  static int order(const Atom &atom) { return static_cast<int>(atom.kind); }

  /// Returns false where there are too many leaves.
  bool branch(const Formula &rest, const Piece &piece,
              const llvm::BitVector &heads) {
    if (rest.isFalse() || piece.rowBegin >= piece.rowEnd)
      return true;
    std::vector<Atom> atoms = rest.atoms();
    llvm::erase_if(atoms, [](const Atom &atom) {
      return order(atom) > order(Atom{Atom::Kind::Cut, 0, {}});
    });
    if (atoms.empty()) {
      leaves.push_back({piece, rest});
      return leaves.size() <= 4 * kMaxPieces;
    }
    const Atom &atom = *std::min_element(
        atoms.begin(), atoms.end(),
        [](const Atom &a, const Atom &b) { return order(a) < order(b); });
    if (atom.kind == Atom::Kind::Head && isExact(piece.heads && atom.expr)) {
      const llvm::BitVector &chosen = headsOf(atom.expr);
      if (!heads.anyCommon(chosen))
        return branch(rest.assume(atom, false), piece, heads);
      if (!heads.test(chosen)) // none of them is left out
        return branch(rest.assume(atom, true), piece, heads);
    }
    return side(rest, piece, heads, atom, true) &&
           side(rest, piece, heads, atom, false);
  }

  bool side(const Formula &rest, const Piece &piece, llvm::BitVector heads,
            const Atom &atom, bool value) {
    Piece next = piece;
    switch (atom.kind) {
    case Atom::Kind::Head:
      next.heads = next.heads && (value ? atom.expr : atom.expr.negated());
      if (!value) {
        heads.reset(headsOf(atom.expr));
      } else if (isExact(next.heads) && !headsOf(atom.expr).test(heads)) {
        // What was chosen before says nothing more.
        next.heads = atom.expr;
        heads = headsOf(atom.expr);
      } else {
        heads &= headsOf(atom.expr);
      }
      if (heads.none() && isExact(next.heads))
        return true;
      break;
    case Atom::Kind::Row:
      if (value)
        next.rowEnd = std::min(next.rowEnd, atom.value);
      else
        next.rowBegin = std::max(next.rowBegin, atom.value);
      break;
    default:
      (value ? next.hi : next.lo).push_back(atom.expr);
      if (contradicts(next) ||
          (next.lo.size() + next.hi.size() > kFewCuts && neverHolds(next)))
        return true;
    }
    return branch(rest.assume(atom, value), next, heads);
  }

  /// Whether the first heads say all of a choice: from the last bound of its
  /// ranges on it repeats. A choice beyond is kept, which is right though
  /// slower.
  static bool isExact(const Expr &choice) {
    int64_t end = 0, period = 1;
    return !choice.uses(Expr::Kind::Less) ||
           (scanChoice(choice, end, period) && end + period <= kHeads);
  }

  /// Raises `end` to the bounds of ranges, `period` to a multiple of residues'.
  static bool scanChoice(const Expr &choice, int64_t &end, int64_t &period) {
    switch (choice.kind()) {
    case Expr::Kind::Less:
      if (choice.args()[0].kind() != Expr::Kind::Head ||
          !choice.args()[1].isConstant())
        return false;
      end = std::max(end, choice.args()[1].value());
      return true;
    case Expr::Kind::Mod:
      if (choice.value() > kHeads)
        return false;
      period = std::lcm(period, choice.value());
      return period <= kHeads && choice.args()[0].kind() == Expr::Kind::Head;
    case Expr::Kind::Constant:
    case Expr::Kind::Equal:
    case Expr::Kind::And:
    case Expr::Kind::Or:
    case Expr::Kind::Not:
    case Expr::Kind::In:
    case Expr::Kind::Table:
      return llvm::all_of(choice.args(), [&](const Expr &arg) {
        return scanChoice(arg, end, period);
      });
    default:
      return false;
    }
  }

  /// The first heads that a choice is for.
  const llvm::BitVector &headsOf(const Expr &choice) {
    for (const auto &[known, heads] : headChoices)
      if (known == choice)
        return heads;
    FlatExpr flat(choice);
    llvm::BitVector heads(kHeads);
    Point point;
    for (; point.h < kHeads; ++point.h)
      heads[point.h] = flat(point) != 0;
    headChoices.push_back({choice, std::move(heads)});
    return headChoices.back().second;
  }

  /// Whether a lower bound is, for the same base, not below an upper bound.
  static bool contradicts(const Piece &piece) {
    for (const Expr &lo : piece.lo)
      for (const Expr &hi : piece.hi) {
        Expr distance = difference(hi, lo);
        if (distance && distance.value() <= 0)
          return true;
      }
    return false;
  }

  /// a - b as a constant where both are the same expression plus a constant.
  static Expr difference(const Expr &a, const Expr &b) {
    auto split = [](const Expr &e) -> std::pair<Expr, int64_t> {
      if (e.isConstant())
        return {Expr(), e.value()};
      if (e.kind() == Expr::Kind::Add && e.args()[1].isConstant())
        return {e.args()[0], e.args()[1].value()};
      return {e, 0};
    };
    auto [baseA, offsetA] = split(a);
    auto [baseB, offsetB] = split(b);
    if (baseA != baseB)
      return {};
    return Expr::constant(offsetA - offsetB);
  }

  /// Keeps only the bounds that bind.
  static void dropLooseBounds(std::vector<Expr> &bounds, bool isLower) {
    for (size_t i = 0; i < bounds.size();) {
      bool loose = false;
      for (size_t j = 0; j < bounds.size() && !loose; ++j) {
        if (i == j)
          continue;
        Expr distance = difference(bounds[i], bounds[j]);
        loose =
            distance && (isLower ? distance.value() < 0 : distance.value() > 0);
        loose |= distance && distance.value() == 0 && j < i;
      }
      if (loose)
        bounds.erase(bounds.begin() + i);
      else
        ++i;
    }
  }

  /// Two leaves that differ only in the side of one cut are one piece.
  void mergeNeighbours() {
    for (auto &leaf : leaves) {
      dropLooseBounds(leaf.first.lo, true);
      dropLooseBounds(leaf.first.hi, false);
    }
    for (bool again = true; again;) {
      again = false;
      for (size_t i = 0; i < leaves.size() && !again; ++i)
        for (size_t j = 0; j < leaves.size() && !again; ++j)
          again = i != j && mergeAt(i, j);
    }
  }

  /// Joins leaf i (below a cut) with leaf j (from the same cut on).
  bool mergeAt(size_t i, size_t j) {
    Piece &below = leaves[i].first;
    const Piece &above = leaves[j].first;
    if (below.heads != above.heads || below.rowBegin != above.rowBegin ||
        below.rowEnd != above.rowEnd || !(leaves[i].second == leaves[j].second))
      return false;
    for (const Expr &cut : below.hi) {
      if (!llvm::is_contained(above.lo, cut))
        continue;
      auto without = [&](std::vector<Expr> bounds) {
        llvm::erase(bounds, cut);
        return bounds;
      };
      if (!sameSet(below.lo, without(above.lo)) ||
          !sameSet(without(below.hi), above.hi))
        continue;
      below.hi = std::vector<Expr>(above.hi);
      leaves.erase(leaves.begin() + j);
      return true;
    }
    return false;
  }

  static bool sameSet(const std::vector<Expr> &a, const std::vector<Expr> &b) {
    return a.size() == b.size() && llvm::all_of(a, [&](const Expr &e) {
             return llvm::is_contained(b, e);
           });
  }

  /// The period of residues that says what the formula says, with those of
  /// another period; 0 where there is none.
  static int64_t periodOf(const Formula &formula, int64_t period) {
    for (const Atom &atom : formula.atoms()) {
      if (atom.kind != Atom::Kind::Digit || atom.value > kMaxPeriod)
        return 0;
      period = period / std::gcd(period, atom.value) * atom.value;
      if (period > kMaxPeriod)
        return 0;
    }
    return period;
  }

  /// The sides of an `or`; of any other formula itself.
  static void collectSides(const Formula &formula,
                           std::vector<Formula> &sides) {
    if (formula.kind() != Formula::Kind::Not ||
        formula.args()[0].kind() != Formula::Kind::And)
      return sides.push_back(formula);
    for (const Formula &arg : formula.args()[0].args())
      collectSides(!arg, sides);
  }

  /// Formulas whose conjunction it is. Of an `or` these are what all its sides
  /// have, and what is left of it: (a and b) or (a and c) is a and (b or c).
  static std::vector<Formula> factorsOf(const Formula &formula) {
    std::vector<Formula> factors, sides;
    auto append = [](std::vector<Formula> &to, const Formula &factor) {
      if (!llvm::is_contained(to, factor))
        to.push_back(factor);
    };
    if (formula.kind() == Formula::Kind::And) {
      for (const Formula &arg : formula.args())
        for (const Formula &factor : factorsOf(arg))
          append(factors, factor);
      return factors;
    }
    collectSides(formula, sides);
    if (sides.size() == 1)
      return {formula};
    std::vector<std::vector<Formula>> all;
    for (const Formula &side : sides)
      all.push_back(factorsOf(side));
    auto isShared = [&](const Formula &factor) {
      return llvm::all_of(all, [&](const std::vector<Formula> &side) {
        return llvm::is_contained(side, factor);
      });
    };
    llvm::copy_if(all.front(), std::back_inserter(factors), isShared);
    if (factors.empty())
      return {formula};
    Formula rest(false);
    for (const std::vector<Formula> &side : all) {
      Formula own;
      for (const Formula &factor : side)
        if (!isShared(factor))
          own = own && factor;
      rest = rest || own;
    }
    if (!rest.isTrue())
      factors.push_back(rest);
    return factors;
  }

  /// Turns the rest into residues and a test: factors of residues alone into
  /// the first. False: the piece is empty.
  static bool finish(Piece &piece, const Formula &rest) {
    int64_t period = 1;
    Formula residues, others;
    for (const Formula &factor : factorsOf(rest)) {
      int64_t both = periodOf(factor, period);
      Formula &part = both ? residues : others;
      part = part && factor;
      period = both ? both : period;
    }
    if (!others.isTrue())
      piece.test = others.asExpr();
    if (residues.isTrue())
      return true;
    piece.digits = tabulate(residues, period);
    return !piece.digits.classes.empty();
  }

  static Digits tabulate(const Formula &rest, int64_t period) {
    Digits digits{period, {}};
    Walk relation(rest.asExpr(), Expr::Kind::Key);
    std::map<std::vector<int64_t>, size_t> classOf;
    for (int64_t q = 0; q < period; ++q) {
      std::vector<int64_t> keys;
      relation.fix(q);
      for (int64_t k = 0; k < period;) {
        Run run = relation.at(k);
        int64_t end = std::min(run.end, period);
        for (; k < end; ++k)
          if (run.value)
            keys.push_back(k);
      }
      if (keys.empty())
        continue;
      auto [known, isNew] = classOf.insert({keys, digits.classes.size()});
      if (isNew)
        digits.classes.push_back({{q}, std::move(keys)});
      else
        digits.classes[known->second].queries.push_back(q);
    }
    if (digits.hasOneView() && int64_t(digits.classes[0].keys.size()) == period)
      return Digits();
    return digits;
  }

  std::vector<std::pair<Piece, Formula>> leaves;
  std::vector<std::pair<Expr, llvm::BitVector>> headChoices;
};
} // namespace

/// Of how many heads below `heads` a condition on the head holds.
static int64_t countHeads(const Expr &condition, int64_t heads) {
  return llvm::count_if(llvm::seq(heads), [&](int64_t head) {
    Point point;
    point.h = head;
    return evaluate(condition, point) != 0;
  });
}

std::optional<std::vector<Piece>>
mlir::megactx::pattern::expand(const Formula &formula, std::string &error,
                               std::optional<int64_t> heads) {
  constexpr int64_t kMostHeads = 1 << 16;
  if (!heads || *heads > kMostHeads)
    return Expander().run(formula, error);
  Formula known = formula;
  for (const Atom &atom : formula.atoms()) {
    if (atom.kind != Atom::Kind::Head)
      continue;
    int64_t count = countHeads(atom.expr, *heads);
    if (count == 0 || count == *heads)
      known = known.assume(atom, count != 0);
  }
  auto pieces = Expander().run(known, error);
  if (pieces)
    llvm::erase_if(*pieces, [&](const Piece &piece) {
      return piece.heads && countHeads(piece.heads, *heads) == 0;
    });
  return pieces;
}
