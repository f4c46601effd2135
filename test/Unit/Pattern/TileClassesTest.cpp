//===- TileClassesTest.cpp - tile classes against brute force -------------===//

#include "megactx/Pattern/TileClasses.h"
#include "RandomPatterns.h"
#include "megactx/Pattern/Statistics.h"
#include "llvm/ADT/STLExtras.h"
#include "gtest/gtest.h"
#include <algorithm>

using namespace mlir::megactx::pattern;
using namespace mlir::megactx::pattern::test;

namespace {
bool isTestedByBlocks(const Piece &piece, const Rows &rows) {
  return blocksOfTest(piece) && rows.queryStep == 1 && rows.keyStep == 1;
}

/// The tiles of a piece by looking at every pair of every tile, a test left out
/// that is not the same for blocks; `pairs` gets how many hold.
TileClasses bruteForce(const Piece &piece, const Rows &rows, TileShape shape,
                       int64_t head, int64_t &pairs) {
  auto symbol = [&](llvm::StringRef) { return rows.keyEnd(); };
  Point point;
  point.symbol = symbol;
  point.h = head;
  bool isTested = isTestedByBlocks(piece, rows);
  TileClasses tiles;
  for (const Digits::Class &c : piece.digits.classes) {
    std::vector<int64_t> queries, keys;
    for (int64_t i = 0; i < rows.queries; ++i)
      if (int64_t p = rows.query(i);
          p >= piece.rowBegin && p < piece.rowEnd &&
          llvm::is_contained(c.queries, floorMod(p, piece.digits.period)))
        queries.push_back(p);
    for (int64_t j = 0; j < rows.keys; ++j)
      if (llvm::is_contained(c.keys,
                             floorMod(rows.key(j), piece.digits.period)))
        keys.push_back(rows.key(j));
    for (size_t a = 0; a < queries.size(); a += shape.queries)
      for (size_t b = 0; b < keys.size(); b += shape.keys) {
        int64_t all = 0, held = 0;
        for (size_t i = a; i < std::min(queries.size(), a + shape.queries); ++i)
          for (size_t j = b; j < std::min(keys.size(), b + shape.keys); ++j) {
            point.p = queries[i];
            point.k = keys[j];
            ++all;
            held += llvm::all_of(piece.lo,
                                 [&](const Expr &lo) {
                                   return point.k >= evaluate(lo, point);
                                 }) &&
                    llvm::all_of(piece.hi,
                                 [&](const Expr &hi) {
                                   return point.k < evaluate(hi, point);
                                 }) &&
                    (!isTested || evaluate(piece.test, point));
          }
        pairs += held;
        if (held == 0)
          ++tiles.empty;
        else if (held == all && (!piece.test || isTested))
          ++tiles.full;
        else
          ++tiles.partial;
      }
  }
  return tiles;
}

void expectBruteForce(const std::string &text, const Rows &rows,
                      TileShape shape, int64_t head) {
  auto pieces = piecesOf(parsed(text).formula(rows.keyStep));
  auto tiles = countTiles(pieces, rows, head, shape);
  ASSERT_TRUE(tiles);
  Point point;
  point.h = head;
  for (auto [piece, found] : llvm::zip(pieces, *tiles)) {
    int64_t pairs = 0;
    TileClasses expected;
    if (!piece.heads || evaluate(piece.heads, point))
      expected = bruteForce(piece, rows, shape, head, pairs);
    ASSERT_TRUE(found == expected)
        << text << "\n"
        << piece.str() << "\n"
        << describe(rows) << ", tiles of " << shape.queries << " x "
        << shape.keys << "\nfull " << found.full << " partial " << found.partial
        << " empty " << found.empty << "\nexpected full " << expected.full
        << " partial " << expected.partial << " empty " << expected.empty;
    // The piece alone has the pairs that its tiles have.
    Piece bounds = piece;
    if (!isTestedByBlocks(piece, rows))
      bounds.test = Expr();
    ASSERT_EQ(countPairs(bounds, rows, head), pairs) << piece.str();
  }
}

TEST(TileClasses, AreBruteForceOnRandomPatterns) {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    Random random(seed);
    Sample sample = random.expression(random.between(0, 3));
    Rows rows = random.rows();
    // Long enough for many rows of tiles.
    rows.queries += random.oneOf({0, 40, 120});
    rows.keys += random.oneOf({0, 0, 60});
    TileShape shape = {random.oneOf({1, 2, 3, 4, 16}),
                       random.oneOf({1, 2, 3, 8, 16})};
    ASSERT_NO_FATAL_FAILURE(
        expectBruteForce(sample.text, rows, shape, random.between(0, 2)));
  }
}

/// Rows of tiles repeat many times, and leaves of bounds cross on the way.
TEST(TileClasses, AreBruteForceOnLongRows) {
  const char *const texts[] = {
      "causal",
      "causal and (window<left = 37, right = 0> or strided<stride = 6>)",
      "window<left = 3, right = 300> and block_local<block = 48>",
      "pyramid<ratio = 4, windows = [8, 8]>",
      "fixed<block = 12, count = 4, slot = head> minus causal",
      "causal minus (block_local<block = 40> or global_keys<first = 100>)",
      "causal and random<block = 24, count = 3, seed = 5>",
      "window<left = 90, right = 30> minus random<block = 16, count = 9, seed "
      "= 2>",
      "per_head<[causal, random<block = 8, count = 2, seed = 1> or "
      "blocks<block = 50, row_ptr = [0, 2, 3], col_idx = [0, 4, 1]>]>"};
  for (const char *text : texts)
    for (int64_t queryStep : {1, 3})
      for (TileShape shape : {TileShape{4, 4}, {8, 2}, {1, 16}}) {
        Rows rows{500, 700, queryStep, 5, 1, 0};
        ASSERT_NO_FATAL_FAILURE(expectBruteForce(text, rows, shape, 1));
      }
}

/// n = 4096, stride 64: 128 x 128 tiles are 13 % useful, 16 x 16 ones 81 %.
TEST(TileClasses, SmallTilesFitShortViews) {
  auto pieces = piecesOf(parsed("causal and strided<stride = 64>").formula());
  Rows rows{4096, 4096};
  auto pairs = countPairs(pieces, rows, 0);
  ASSERT_EQ(pairs, 64 * (64 * 65 / 2));
  for (auto [size, useful] : {std::pair(128, 0.127), std::pair(16, 0.8125)}) {
    TileShape shape{size, size};
    auto tiles = countTilesOfHeads(pieces, rows, 3, shape);
    ASSERT_TRUE(tiles);
    ASSERT_EQ(tiles->size(), 1u);
    EXPECT_EQ(tiles->front().heads, 3);
    Work work = workOf(*tiles, shape, 128);
    EXPECT_NEAR(3.0 * *pairs * 2 * 128 / work.tileFlops, useful, 0.001);
  }
}

TEST(TileClasses, StepsDoNotGrowWithRows) {
  for (const char *text :
       {"dense", "causal", "window<left = 2, right = 2>",
        "causal and (window<left = 127, right = 0> or strided<stride = 128>)",
        "causal and fixed<block = 128, count = 8, slot = head>",
        "pyramid<ratio = 32, windows = [8, 8]>"}) {
    auto pieces = piecesOf(parsed(text).formula());
    int64_t n = int64_t(1) << 30;
    uint64_t steps = 0;
    ASSERT_TRUE(countTiles(pieces, Rows{n, n}, 0, TileShape(), &steps)) << text;
    EXPECT_LE(steps, 20000u) << text;
  }
}

/// 128 rows of blocks, each with two of them before the diagonal, on average
/// and but for those that the window has; a block is 64 tiles.
TEST(TileClasses, BlocksThatAreLeftOutCostNothing) {
  auto pieces = piecesOf(
      parsed("causal and random<block = 128, count = 4, seed = 7>").formula());
  Rows rows{16384, 16384};
  auto tiles = countTiles(pieces, rows, 0, {16, 16});
  ASSERT_TRUE(tiles);
  auto pairs = countPairs(pieces, rows, 0);
  TileClasses found = tiles->front();
  EXPECT_GE((found.full + found.partial) * 256, *pairs);
  EXPECT_LE((found.full + found.partial) * 256, *pairs * 1.01);
}

TEST(TileClasses, GiveUpRatherThanHang) {
  auto pieces =
      piecesOf(parsed("causal and block_local<block = 1000003>").formula());
  int64_t n = int64_t(1) << 31;
  EXPECT_FALSE(countTiles(pieces, Rows{n, n}, 0, {1, 1}));
}

TEST(TileClasses, ShapesAreParsed) {
  auto shape = TileShape::parse("128x64");
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->queries, 128);
  EXPECT_EQ(shape->keys, 64);
  for (const char *text :
       {"", "16", "0x1", "16x", "x16", "16x16x16", "-1x4", "65537x1"})
    EXPECT_FALSE(TileShape::parse(text)) << text;
}
} // namespace
