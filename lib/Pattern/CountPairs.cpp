//===- CountPairs.cpp - pairs of rows, without visiting them --------------===//
//
// Reduces a piece to sums over rows between bounds (RowSum.h): residues become
// periodic sets of key rows; a test becomes the intervals of keys on which it
// holds, once for all rows that share them.
//
//===----------------------------------------------------------------------===//

#include "RowSum.h"
#include "TestRuns.h"
#include "megactx/Pattern/Statistics.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <numeric>

using namespace mlir::megactx::pattern;

namespace {
class Counter : PieceRows {
public:
  Counter(const Piece &piece, const Rows &rows, int64_t head, Budget &budget)
      : PieceRows(piece, rows, head), budget(budget) {}

  std::optional<int64_t> run() {
    if (!piece.test)
      return residues();
    Expr test = bind(piece.test && digitsAsTest());
    int64_t period = periodOf(test);
    if (period == 0 && isSeparable(test))
      return byRowRuns(test);
    return byRows(test, period);
  }

private:
  RowSum sum(llvm::function_ref<const RowSet *(int64_t)> keys,
             int64_t queryPeriod, int64_t keyPeriod) const {
    return {rows, lo, hi, queryPeriod, keyPeriod, keys, budget};
  }

  std::optional<int64_t> residues() const {
    std::vector<View> all = views();
    std::vector<const RowSet *> keysOf(queryPeriod, nullptr);
    for (const View &view : all)
      for (auto [begin, end] : view.queries.runs)
        std::fill(keysOf.begin() + begin, keysOf.begin() + end, &view.keys);
    auto keys = [&](int64_t u) { return keysOf[u]; };
    return sum(keys, queryPeriod, keyPeriod).over(rowBegin, rowEnd);
  }

  /// Residues of a piece that also has a test, as part of the test.
  Expr digitsAsTest() const {
    if (piece.digits.isIdentity())
      return Expr::constant(1);
    int64_t m = piece.digits.period;
    Expr any = Expr::constant(0);
    for (const Digits::Class &c : piece.digits.classes)
      any = any || (Expr::in(Expr::position().mod(m), c.queries) &&
                    Expr::in(Expr::key().mod(m), c.keys));
    return any;
  }

  static bool isOfPositions(const Expr &e) {
    return e.uses(Expr::Kind::Position) || e.uses(Expr::Kind::Key);
  }
  /// Whether the expression is a sum of positions with factors.
  static bool isLinear(const Expr &e) {
    switch (e.kind()) {
    case Expr::Kind::Constant:
    case Expr::Kind::Position:
    case Expr::Kind::Key:
      return true;
    case Expr::Kind::Add:
    case Expr::Kind::Mul:
      return llvm::all_of(e.args(), isLinear);
    default:
      return false;
    }
  }
  /// The period, in tokens, with which a test of residues alone repeats; 0
  /// where it does not, or not within kMaxPosition.
  static int64_t periodOf(const Expr &e) {
    if (!isOfPositions(e))
      return 1;
    if (e.kind() == Expr::Kind::Mod && isLinear(e.args()[0]))
      return e.value();
    if (e.args().empty())
      return 0;
    int64_t period = 1;
    for (const Expr &arg : e.args()) {
      int64_t other = periodOf(arg);
      if (other == 0)
        return 0;
      __int128 lcm = __int128(period / std::gcd(period, other)) * other;
      if (lcm > kMaxPosition)
        return 0;
      period = int64_t(lcm);
    }
    return period;
  }

  /// Whether row and key only meet above terms of one of them that repeat over
  /// many: then rows come in runs with the same keys.
  static bool isSeparable(const Expr &e) {
    if (!e.uses(Expr::Kind::Position) || !e.uses(Expr::Kind::Key))
      return true;
    auto plain = [](const Expr &x) { return x.kind() == Expr::Kind::Position; };
    return !llvm::any_of(e.args(), plain) &&
           llvm::all_of(e.args(), isSeparable);
  }

  /// Rows come in runs that see the same keys but for the bounds: rectangles,
  /// of which few are cut by a bound.
  std::optional<int64_t> byRowRuns(const Expr &test) {
    auto everyKey = [all = RowSet()](int64_t) { return &all; };
    TestRuns runs(*this, test, budget);
    FlatExpr lower = greatestLo(), upper = leastHi();
    int64_t total = 0;
    for (int64_t row = rowBegin, end; row < rowEnd; row = end) {
      end = runs.endOfAlike(row);
      // Bounds do not descend: these are their extremes in the run.
      int64_t p = rows.query(row), last = rows.query(end - 1);
      int64_t minLo = lower.atRow(p), maxLo = lower.atRow(last);
      int64_t minHi = upper.atRow(p), maxHi = upper.atRow(last);
      for (auto [first, beyond] : runs.at(row, minLo, maxHi)) {
        std::optional<int64_t> pairs = (end - row) * (beyond - first);
        if (first < maxLo || beyond > minHi) {
          RowSum part = sum(everyKey, 1, 1);
          part.lo.push_back(Expr::constant(first));
          part.hi.push_back(Expr::constant(beyond));
          pairs = part.over(row, end);
        }
        if (!pairs)
          return std::nullopt;
        total += *pairs;
      }
      if (!budget.spend())
        return std::nullopt;
    }
    return total;
  }

  std::optional<int64_t> byRows(const Expr &test, int64_t period) {
    int64_t queryPeriod = kMaxPosition, keyPeriod = rows.keys;
    if (period > 0) {
      queryPeriod = period / std::gcd(period, rows.queryStep);
      keyPeriod = period / std::gcd(period, rows.keyStep);
    }
    // No more keys are looked at than there are.
    int64_t seen = std::min(keyPeriod, rows.keys);
    keyPeriod = std::max<int64_t>(keyPeriod, 1);
    RowSet set;
    TestRuns runs(*this, test, budget);
    auto keys = [&](int64_t u) {
      set = RowSet(keyPeriod, runs.at(u, 0, seen));
      return &set;
    };
    auto pairs = sum(keys, queryPeriod, keyPeriod).over(rowBegin, rowEnd);
    return budget.spent() ? std::nullopt : pairs;
  }

  Budget &budget;
};
} // namespace

std::optional<int64_t>
mlir::megactx::pattern::countPairs(llvm::ArrayRef<Piece> pieces,
                                   const Rows &rows, int64_t head,
                                   uint64_t *steps) {
  Budget budget;
  int64_t total = 0;
  for (const Piece &piece : pieces) {
    if (rows.keys == 0 || !isChosenFor(piece, head))
      continue;
    auto pairs = Counter(piece, rows, head, budget).run();
    if (steps)
      *steps = budget.steps;
    if (!pairs)
      return std::nullopt;
    total += *pairs;
  }
  return total;
}

std::optional<std::vector<int64_t>>
mlir::megactx::pattern::countPairsPerHead(llvm::ArrayRef<Piece> pieces,
                                          const Rows &rows, int64_t heads) {
  bool testsKnowHeads = llvm::any_of(pieces, [](const Piece &piece) {
    return piece.test && piece.test.uses(Expr::Kind::Head);
  });
  // Heads that have the same pieces have as many pairs.
  std::map<std::vector<bool>, int64_t> known;
  std::vector<int64_t> result;
  for (int64_t h = 0; h < heads; ++h) {
    std::vector<bool> chosen;
    for (const Piece &piece : pieces)
      chosen.push_back(isChosenFor(piece, h));
    auto found = known.find(chosen);
    if (found == known.end() || testsKnowHeads) {
      auto pairs = countPairs(pieces, rows, h);
      if (!pairs)
        return std::nullopt;
      found = known.insert_or_assign(chosen, *pairs).first;
    }
    result.push_back(found->second);
  }
  return result;
}
