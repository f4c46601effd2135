//===- StatisticsTest.cpp - counts against brute force --------------------===//

#include "megactx/Pattern/Statistics.h"
#include "RandomPatterns.h"
#include "gtest/gtest.h"

using namespace mlir::megactx::pattern;
using namespace mlir::megactx::pattern::test;

namespace {
/// One of each name, and what models use.
const char *const kNamed[] = {
    "dense",
    "causal",
    "window<left = 255, right = 0>",
    "window<left = 255, right = 255>",
    "causal and (window<left = 127, right = 0> or strided<stride = 128>)",
    "dilated<left = 63, right = 63, dilation = 4>",
    "causal and block_local<block = 128>",
    "columns<block = 128, first = 120, count = 8>",
    "causal and fixed<block = 128, count = 8, slot = head>",
    "window<left = 255, right = 255> or global_keys<first = 64> or "
    "global_queries<first = 64>",
    "causal and (window<left = 255, right = 0> or global_keys<indices = [0, "
    "77, "
    "4096]> or global_queries<indices = [5, 900000]>)",
    "random<block = 64, count = 3, seed = 7>",
    "window<left = 191, right = 191> or global_keys<first = 128> or "
    "global_queries<first = 128> or random<block = 64, count = 3, seed = 7>",
    "blocks<block = 64, row_ptr = [0, 1, 3, 4], col_idx = [0, 0, 2, 1]>",
    "segments",
    "pyramid<ratio = 32, windows = [8, 8]>",
    "per_head<0-3: causal and window<left = 511, right = 0>, 4-: causal and "
    "strided<stride = 512>>"};

int64_t bruteForce(const Formula &formula, const Rows &rows, int64_t head) {
  int64_t pairs = 0;
  forAll(rows, head + 1, [&](const Point &point, const Element &) {
    pairs += point.h == head && formula.holds(point);
  });
  return pairs;
}

TEST(CountPairs, IsBruteForceOnNamedPatterns) {
  for (const char *text : kNamed)
    for (int64_t keyStep : {1, 32}) {
      Rows rows{300, 283, 1, 17, keyStep, keyStep - 1};
      Formula formula = parsed(text).formula(keyStep);
      EXPECT_EQ(countPairs(piecesOf(formula), rows, 1),
                bruteForce(formula, rows, 1))
          << text << " at key step " << keyStep;
    }
}

TEST(CountPairs, IsBruteForceOnRandomPatterns) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    Random random(seed);
    Sample sample = random.expression(random.between(0, 3));
    Rows rows = random.rows();
    // Long enough for some periods to repeat.
    rows.queries += random.oneOf({0, 40, 90});
    Formula formula = parsed(sample.text).formula(rows.keyStep);
    int64_t head = random.between(0, 2);
    ASSERT_EQ(countPairs(piecesOf(formula), rows, head),
              bruteForce(formula, rows, head))
        << sample.text << "\n"
        << describe(rows) << ", head " << head;
  }
}

/// Tests that no name has: neither side of a comparison is a chain.
TEST(CountPairs, IsBruteForceOnPiecesOfText) {
  for (const char *text :
       {"test<max(k floordiv 8, 0) == table([0,1,0,0,1,0,1,1,0,1,1], k)>",
        "test<table([3,1,2,0,3], k) lt max(p floordiv 4, k floordiv 3)>",
        "hi<p + 1>, test<(k mod 5) lt table([0,4,2,3], p floordiv 8)>",
        "digits<4, [0,1]: [0-2], [3]: [1]>, test<not((k floordiv 6) == 1)>"}) {
    auto piece = Piece::parse(text, [&](size_t at, const auto &message) {
      ADD_FAILURE() << text << " at " << at << ": " << message.str();
    });
    ASSERT_TRUE(piece);
    Rows rows{50, 40, 1, 0, 1, 0};
    int64_t pairs = 0;
    forAll(rows, 1, [&](const Point &point, const Element &) {
      pairs += piece->holds(point);
    });
    EXPECT_GT(pairs, 0) << text;
    EXPECT_EQ(countPairs(*piece, rows, 0), pairs) << text;
  }
}

/// A million times the rows takes hardly more steps.
TEST(CountPairs, StepsDoNotGrowWithRows) {
  for (const char *text : kNamed) {
    auto pieces = piecesOf(parsed(text).formula());
    bool tests = llvm::any_of(pieces, [](const Piece &p) { return p.test; });
    uint64_t steps = 0;
    int64_t n = 1 << 20;
    ASSERT_TRUE(countPairs(pieces, Rows{n, n}, 0, &steps)) << text;
    EXPECT_LE(steps, tests ? 400000u : 5000u) << text;
    if (tests)
      continue;
    n = int64_t(1) << 30;
    ASSERT_TRUE(countPairs(pieces, Rows{n, n}, 0, &steps)) << text;
    EXPECT_LE(steps, 5000u) << text;
  }
}

TEST(CountPairs, LargeDivisorsAreCutWhereQuotientsChange) {
  auto pieces = piecesOf(parsed("causal and block_local<block = 1000003> and "
                                "window<left = 1500, right = 0>")
                             .formula());
  int64_t n = 100 * 1000003;
  uint64_t steps = 0;
  // A block's rows r see min(r, 1500) + 1 keys.
  int64_t perBlock = int64_t(1000003) * 1501 - 1500 * 1501 / 2;
  EXPECT_EQ(countPairs(pieces, Rows{n, n}, 0, &steps), 100 * perBlock);
  EXPECT_LE(steps, 1000u);
}

TEST(CountPairs, GivesUpRatherThanHang) {
  auto pieces = piecesOf(
      parsed("strided<stride = 5000> or global_keys<indices = [3]>").formula());
  int64_t n = int64_t(1) << 31;
  EXPECT_FALSE(countPairs(pieces, Rows{n, n}, 0));
}
} // namespace
