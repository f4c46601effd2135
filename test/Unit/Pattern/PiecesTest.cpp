//===- PiecesTest.cpp - pieces are disjoint and make up the relation ------===//

#include "RandomPatterns.h"
#include "gtest/gtest.h"

using namespace mlir::megactx::pattern;
using namespace mlir::megactx::pattern::test;

namespace {
constexpr unsigned kSamples = 2000;

/// A random pattern, rows, and the pattern's pieces for keys of their step.
struct Case {
  Sample sample;
  Rows rows;
  std::vector<Piece> pieces;
};

/// Made once, for all tests.
const std::vector<Case> &randomCases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> made;
    for (unsigned seed = 0; seed < kSamples; ++seed) {
      Random random(seed);
      Sample sample = random.expression(random.between(0, 3));
      Rows rows = random.rows();
      auto pieces = piecesOf(parsed(sample.text).formula(rows.keyStep));
      made.push_back({std::move(sample), rows, std::move(pieces)});
    }
    return made;
  }();
  return cases;
}

/// Calls `check` with random patterns, rows and pieces until one fails.
template <typename Check> void forRandomPatterns(Check check) {
  for (const auto &[sample, rows, pieces] : randomCases()) {
    SCOPED_TRACE(sample.text + "\n" + describe(rows));
    check(sample, rows, pieces);
    if (testing::Test::HasFailure())
      return;
  }
}

/// The same, piece by piece.
template <typename Check> void forRandomPieces(Check check) {
  forRandomPatterns(
      [&](const Sample &, const Rows &rows, const std::vector<Piece> &pieces) {
        for (const Piece &piece : pieces)
          check(rows, piece);
      });
}

TEST(Pieces, FormulaIsTheRelation) {
  forRandomPatterns([](const Sample &sample, const Rows &rows, const auto &) {
    Formula formula = parsed(sample.text).formula(rows.keyStep);
    forAll(rows, 3, [&](const Point &point, const Element &e) {
      ASSERT_EQ(formula.holds(point), sample.holds(e))
          << "p = " << e.p << ", k = " << e.k << ", h = " << e.h;
    });
  });
}

TEST(Pieces, DisjointAndTheirUnionIsTheRelation) {
  forRandomPatterns([](const Sample &sample, const Rows &rows,
                       const std::vector<Piece> &pieces) {
    forAll(rows, 3, [&](const Point &point, const Element &e) {
      int holding = 0;
      for (const Piece &piece : pieces)
        holding += piece.holds(point);
      ASSERT_EQ(holding, sample.holds(e) ? 1 : 0)
          << "p = " << e.p << ", k = " << e.k << ", h = " << e.h;
    });
  });
}

TEST(Pieces, OfAsManyHeadsAsThereAreTheyAreTheSame) {
  forRandomPatterns([](const Sample &sample, const Rows &rows, const auto &) {
    std::string error;
    auto pieces =
        expand(parsed(sample.text).formula(rows.keyStep), error, /*heads=*/3);
    ASSERT_TRUE(pieces) << error;
    forAll(rows, 3, [&](const Point &point, const Element &e) {
      ASSERT_EQ(
          llvm::count_if(
              *pieces, [&](const Piece &piece) { return piece.holds(point); }),
          sample.holds(e) ? 1 : 0)
          << "p = " << e.p << ", k = " << e.k << ", h = " << e.h;
    });
  });
}

TEST(Pieces, TransposedDigitsExchangeQueriesAndKeys) {
  auto sees = [](const Digits &digits, int64_t query, int64_t key) {
    return llvm::any_of(digits.classes, [&](const Digits::Class &c) {
      return llvm::is_contained(c.queries, query) &&
             llvm::is_contained(c.keys, key);
    });
  };
  forRandomPieces([&](const Rows &, const Piece &piece) {
    Digits digits = piece.digits, other = digits.transposed();
    ASSERT_EQ(other.period, digits.period);
    // Each key residue is in one class, or in none that nothing sees.
    ASSERT_LE(other.rowResidues(), other.period);
    int64_t period = std::min<int64_t>(digits.period, 40);
    for (int64_t p = 0; p < period; ++p)
      for (int64_t k = 0; k < period; ++k)
        ASSERT_EQ(sees(other, k, p), sees(digits, p, k))
            << piece.str() << "\np = " << p << ", k = " << k;
  });
}

TEST(Pieces, TestsAreTheSameInTheirBlocks) {
  size_t inBlocks = 0;
  forRandomPieces([&](const Rows &rows, const Piece &piece) {
    if (!piece.test)
      return;
    int64_t ofRows = blockOf(piece.test, Expr::Kind::Position),
            ofKeys = blockOf(piece.test, Expr::Kind::Key);
    ASSERT_GT(ofRows, 0);
    ASSERT_GT(ofKeys, 0);
    inBlocks += ofRows > 1 && ofKeys > 1;
    forAll(rows, 3, [&](const Point &point, const Element &e) {
      Point first = point;
      first.p -= floorMod(point.p, ofRows);
      first.k -= floorMod(point.k, ofKeys);
      ASSERT_EQ(evaluate(piece.test, first), evaluate(piece.test, point))
          << piece.test.str() << "\np = " << e.p << ", k = " << e.k;
    });
  });
  EXPECT_GT(inBlocks, kSamples / 20);
}

TEST(Expr, BlockOf) {
  Expr p = Expr::position(), k = Expr::key();
  auto ofKeys = [](const Expr &e) { return blockOf(e, Expr::Kind::Key); };
  EXPECT_EQ(ofKeys(k), 1);
  EXPECT_EQ(ofKeys(p), kWhole);
  EXPECT_EQ(ofKeys(k.floorDiv(64)), 64);
  EXPECT_EQ(ofKeys(k.floorDiv(8).floorDiv(3)), 24);
  EXPECT_EQ(ofKeys((k + 1).floorDiv(64)), 1);
  EXPECT_EQ(ofKeys((k.floorDiv(64) * 3 + 2).floorDiv(5)), 64);
  EXPECT_EQ(
      ofKeys(k.floorDiv(64).equals(k.floorDiv(48)) && p.less(k.floorDiv(96))),
      16);
  EXPECT_EQ(ofKeys(k.floorDiv(INT64_MAX).floorDiv(2)), 1);
}

TEST(Pieces, ConditionIsThePiece) {
  forRandomPieces([](const Rows &rows, const Piece &piece) {
    Expr condition = piece.condition();
    forAll(rows, 3, [&](const Point &point, const Element &e) {
      ASSERT_EQ(evaluate(condition, point), piece.holds(point) ? 1 : 0)
          << piece.str() << "\n"
          << condition.str() << "\np = " << e.p << ", k = " << e.k;
    });
  });
}

TEST(Pieces, BoundsAscendWithTheRow) {
  forRandomPieces([](const Rows &rows, const Piece &piece) {
    Point point;
    auto symbol = [&](llvm::StringRef) { return rows.keyEnd(); };
    point.symbol = symbol;
    for (const auto &bounds : {piece.lo, piece.hi})
      for (const Expr &bound : bounds) {
        int64_t before = INT64_MIN;
        for (point.p = -20; point.p < 100; ++point.p) {
          int64_t value = evaluate(bound, point);
          ASSERT_LE(before, value) << bound.str();
          before = value;
        }
      }
  });
}

TEST(Pieces, TextReadsBack) {
  forRandomPieces([](const Rows &, const Piece &piece) {
    auto back = Piece::parse(piece.str(), [&](size_t at, const auto &m) {
      ADD_FAILURE() << piece.str() << "\nat " << at << ": " << m.str();
    });
    ASSERT_TRUE(back);
    ASSERT_EQ(back->str(), piece.str());
    ASSERT_TRUE(*back == piece) << piece.str();
  });
}

TEST(Pieces, RanksAndPositionsAreInverse) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    Random random(seed);
    int64_t period = random.between(1, 12);
    std::vector<int64_t> residues;
    for (int64_t r = 0; r < period; ++r)
      if (random.between(0, 1))
        residues.push_back(r);
    if (residues.empty())
      continue;
    int64_t below = 0;
    for (int64_t x = 0; x < 4 * period; ++x) {
      ASSERT_EQ(rank(period, residues, x), below);
      if (!llvm::is_contained(residues, x % period))
        continue;
      ASSERT_EQ(unrank(period, residues, below), x);
      ++below;
    }
    ASSERT_EQ(rank(period, residues, -5), 0);
  }
}

TEST(Pieces, KeysFollowEachOther) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    Random random(seed);
    Digits digits{random.between(2, 12), {}};
    int64_t first = random.between(0, digits.period - 1);
    for (int64_t row = 0; row < 2; ++row) {
      std::vector<int64_t> keys;
      for (int64_t r = first; r < digits.period; ++r)
        if (keys.empty() || random.between(0, 3))
          keys.push_back(r);
      digits.classes.push_back({{row}, keys});
    }
    int64_t run = digits.keyRun();
    for (const Digits::Class &c : digits.classes)
      for (int64_t i = 0; i < 40; ++i)
        ASSERT_EQ(unrank(digits.period, c.keys, i),
                  unrank(digits.period, c.keys, i / run * run) + i % run);
  }
  EXPECT_EQ((Digits{8, {{{0, 1}, {5, 6, 7}}, {{2}, {0, 1, 2}}}}.keyRun()), 3);
  EXPECT_EQ((Digits{8, {{{0, 1}, {5, 6, 7}}, {{2}, {0, 1}}}}.keyRun()), 1);
  EXPECT_EQ((Digits{8, {{{0}, {1, 2, 4}}}}.keyRun()), 1);
}

/// Every past token is represented exactly once, at one level, and nothing is
/// seen from the future.
TEST(Pyramid, RepresentsEveryPastTokenOnce) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    Random random(seed);
    int64_t ratio = random.between(2, 4), levels = random.between(1, 3);
    std::string windows;
    for (int64_t level = 0; level < levels; ++level)
      windows += (level ? ", " : "") + std::to_string(random.between(0, 3));
    Pattern pattern = parsed("pyramid<ratio = " + std::to_string(ratio) +
                             ", windows = [" + windows + "]>");
    SCOPED_TRACE(pattern.str());
    int64_t step = 1;
    std::vector<std::pair<int64_t, Formula>> sources;
    for (int64_t level = 0; level <= levels; ++level, step *= ratio)
      sources.push_back({step, pattern.formula(step)});
    Point point;
    for (point.p = 0; point.p < 150; ++point.p)
      for (int64_t token = 0; token < 150; ++token) {
        int seen = 0;
        for (auto &[size, formula] : sources) {
          // A gist stands at its last token.
          point.k = token / size * size + size - 1;
          seen += formula.holds(point);
        }
        ASSERT_EQ(seen, token <= point.p) << point.p << " sees " << token;
      }
  }
}
} // namespace
