//===- ProveTest.cpp - proofs that pieces are a relation ------------------===//

#include "megactx/Pattern/Prove.h"
#include "RandomPatterns.h"
#include "gtest/gtest.h"

using namespace mlir::megactx::pattern;
using namespace mlir::megactx::pattern::test;

namespace {
Proof proofOf(const std::string &text, int64_t keyStep = 1) {
  Formula formula = parsed(text).formula(keyStep);
  return prove(formula, piecesOf(formula));
}

std::string outcome(const Proof &proof) {
  return proof.isProved()    ? "proved"
         : proof.isRefuted() ? "refuted: " + proof.counterexample.str()
                             : "not provable: " + proof.reason;
}

/// Expects a refutation that formula and pieces confirm. Returns whether it is
/// one.
void expectRefuted(const Formula &formula, llvm::ArrayRef<Piece> pieces) {
  Proof proof = prove(formula, pieces);
  ASSERT_TRUE(proof.isRefuted()) << outcome(proof);
  proof.counterexample.at([&](const Point &point) {
    unsigned holding = 0;
    for (const Piece &piece : pieces)
      holding += piece.holds(point);
    EXPECT_NE(holding, unsigned(formula.holds(point))) << outcome(proof);
    EXPECT_EQ(holding, proof.counterexample.pieces);
    EXPECT_EQ(formula.holds(point), proof.counterexample.holds);
  });
}

TEST(Prove, NamedPatterns) {
  for (const char *text :
       {"dense",
        "causal",
        "window<left = 127, right = 0>",
        "window<left = 64, right = 64>",
        "window<left = -1, right = 3>",
        "strided<stride = 128>",
        "causal and strided<stride = 512>",
        "dilated<left = 8, right = 8, dilation = 4>",
        "block_local<block = 128>",
        "causal and block_local<block = 128>",
        "columns<block = 128, first = 96, count = 32>",
        "fixed<block = 128, count = 8>",
        "causal and fixed<block = 128, count = 8, slot = 3>",
        "causal and fixed<block = 128, count = 8, slot = head>",
        "global_keys<first = 64>",
        "global_queries<first = 64>",
        "global_keys<indices = [3, 4, 5, 90]>",
        "causal and (window<left = 127, right = 0> or strided<stride = 128>)",
        "causal and (window<left = 127, right = 0> or global_keys<first = 4>)",
        "window<left = 256, right = 256> or global_keys<first = 64> or "
        "global_queries<first = 64>",
        "window<left = 96, right = 96> or global_keys<first = 64> or "
        "global_queries<first = 64> or random<block = 64, count = 3, seed = 1>",
        "causal minus strided<stride = 5000>",
        "causal and segments",
        "blocks<block = 16, row_ptr = [0, 1, 3], col_idx = [0, 0, 1]>",
        "causal and per_head<[window<left = 63, right = 0>, strided<stride = "
        "64>, fixed<block = 64, count = 8>]>",
        "per_head<0-3: causal, 4-99999: window<left = 5, right = 0>, 100000-: "
        "strided<stride = 8>>",
        "causal and (strided<stride = 3000> or columns<block = 3001, first = "
        "7, count = 9>)"})
    EXPECT_TRUE(proofOf(text).isProved())
        << text << ": " << outcome(proofOf(text));
}

TEST(Prove, PyramidAtEveryLevel) {
  std::string pyramid = "pyramid<ratio = 32, windows = [8, 8]>";
  for (int64_t step : {1, 2, 32, 1024})
    for (const std::string &text :
         {pyramid, pyramid + " or global_keys<first = 64>"})
      EXPECT_TRUE(proofOf(text, step).isProved())
          << text << " at step " << step << ": "
          << outcome(proofOf(text, step));
}

/// Whatever the ratio and the windows, in tokens.
TEST(Prove, PyramidShowsThePastExactlyOnce) {
  for (const char *arguments :
       {"ratio = 32, windows = [8, 8]", "ratio = 2, windows = [1, 1]",
        "ratio = 4, windows = [0, 3]", "ratio = 3, windows = [2]",
        "ratio = 32, windows = [8, 8, 8]", "ratio = 7, windows = [5, 0]"}) {
    Proof proof =
        proveExactlyOnce(parsed("pyramid<" + std::string(arguments) + ">"));
    EXPECT_TRUE(proof.isProved()) << arguments << ": " << outcome(proof);
  }
}

TEST(Prove, NotExactlyOnce) {
  std::string pyramid = "pyramid<ratio = 4, windows = [2, 2]>";
  struct {
    std::string text;
    bool holds;
    unsigned sources;
  } wrong[] = {{pyramid + " and window<left = 40, right = 0>", true, 0},
               {pyramid + " or causal", true, 2},
               {"window<left = -1, right = 2>", false, 1}};
  for (const auto &[text, holds, sources] : wrong) {
    Proof proof = proveExactlyOnce(parsed(text));
    ASSERT_TRUE(proof.isRefuted()) << text << ": " << outcome(proof);
    EXPECT_EQ(proof.counterexample.holds, holds) << text;
    EXPECT_EQ(std::min(proof.counterexample.pieces, 2u), sources) << text;
  }
}

/// Sources of a pyramid see every past token once: not of one pattern's pieces,
/// but of one relation's.
TEST(Prove, PyramidLevelsMakeUpThePast) {
  std::vector<Piece> all;
  for (int64_t step : {1, 32, 1024})
    for (Piece &piece : piecesOf(
             parsed("pyramid<ratio = 32, windows = [8, 8]>").formula(step)))
      all.push_back(std::move(piece));
  Formula past = Formula::keysBetween(Expr::constant(0), Expr::position() + 1);
  // Rows before 0 have no past, but a top level from 0 on and none below.
  EXPECT_TRUE(prove(past && !Formula::rowsBelow(0),
                    [&] {
                      for (Piece &piece : all)
                        piece.rowBegin = 0;
                      return llvm::ArrayRef<Piece>(all);
                    }())
                  .isProved());
}

/// Where a bound that moves by one changes the relation, it is refuted; where
/// another bound says as much, it is still proved.
TEST(Prove, BoundOffByOneIsRefuted) {
  Formula formula =
      parsed("causal and (block_local<block = 4> or strided<stride = 4>)")
          .formula();
  const std::vector<Piece> right = piecesOf(formula);
  unsigned refuted = 0;
  for (size_t i = 0; i < right.size(); ++i)
    for (int64_t by : {-1, 1})
      for (bool isLower : {false, true}) {
        std::vector<Piece> wrong = right;
        std::vector<Expr> &bounds = isLower ? wrong[i].lo : wrong[i].hi;
        if (bounds.empty())
          continue;
        bounds.back() = bounds.back() + by;
        SCOPED_TRACE(right[i].str() + " against " + wrong[i].str());
        bool differs = false;
        forAll(Rows{20, 20}, 1, [&](const Point &point, const Element &) {
          differs |= right[i].holds(point) != wrong[i].holds(point);
        });
        refuted += differs;
        if (differs)
          expectRefuted(formula, wrong);
        else
          EXPECT_TRUE(prove(formula, wrong).isProved());
      }
  EXPECT_GE(refuted, 4u);
}

TEST(Prove, FarFaultIsFound) {
  Formula formula = parsed("causal").formula();
  std::vector<Piece> pieces = piecesOf(formula);
  pieces[0].rowEnd = int64_t(1) << 40;
  expectRefuted(formula, pieces);
  EXPECT_EQ(prove(formula, pieces).counterexample.p, int64_t(1) << 40);
}

TEST(Prove, DroppedResidueIsRefuted) {
  Formula formula = parsed("strided<stride = 128> and causal").formula();
  std::vector<Piece> pieces = piecesOf(formula);
  pieces[0].digits.classes.erase(pieces[0].digits.classes.begin() + 77);
  expectRefuted(formula, pieces);
  EXPECT_EQ(prove(formula, pieces).counterexample.p % 128, 77);
}

TEST(Prove, OverlapIsRefuted) {
  Formula formula = parsed("causal").formula();
  std::vector<Piece> pieces = piecesOf(formula);
  pieces.push_back(
      piecesOf(parsed("window<left = 3, right = 0> and strided<stride = 2>")
                   .formula())[0]);
  expectRefuted(formula, pieces);
  EXPECT_EQ(prove(formula, pieces).counterexample.pieces, 2u);
}

TEST(Prove, WrongHeadIsRefuted) {
  Formula formula = parsed("per_head<[dense, causal, dense]>").formula();
  expectRefuted(
      formula, piecesOf(parsed("per_head<[dense, causal, causal]>").formula()));
  EXPECT_EQ(
      prove(formula, piecesOf(parsed("dense").formula())).counterexample.h % 3,
      1);
}

/// Residues of bounds and of digits that exclude each other.
TEST(Prove, ResiduesAndBoundsTogether) {
  Expr p = Expr::position();
  // Keys of p's block, of two, that have p's residue: p alone.
  Formula both =
      parsed("block_local<block = 2> and strided<stride = 2>").formula();
  Piece own;
  own.lo = {p};
  own.hi = {p + 1};
  EXPECT_TRUE(prove(both, own).isProved()) << outcome(prove(both, own));
  own.hi = {p + 2};
  expectRefuted(both, own);
}

/// What depends on a value that no point gives is not decided.
TEST(Prove, OpaqueTestIsNotProvable) {
  Formula formula = parsed("segments").formula();
  Proof proof = prove(formula, {Piece()});
  EXPECT_EQ(proof.verdict, Proof::Verdict::NotProvable);
  EXPECT_NE(proof.reason.find("a test over"), std::string::npos)
      << proof.reason;
  // A run-time symbol has every value.
  Formula keys = Formula::keysBelow(Expr::symbol("nk"));
  Piece piece;
  piece.hi = {Expr::symbol("nk") - 1};
  expectRefuted(keys, piece);
  EXPECT_TRUE(prove(keys, piecesOf(keys)).isProved());
}

TEST(Prove, RandomPatternsAreNeverRefuted) {
  unsigned proved = 0, count = 400;
  for (unsigned seed = 0; seed < count; ++seed) {
    Random random(seed);
    Sample sample = random.expression(random.between(0, 3));
    Proof proof = proofOf(sample.text, random.oneOf({1, 2, 3}));
    proved += proof.isProved();
    ASSERT_FALSE(proof.isRefuted()) << sample.text << ": " << outcome(proof);
  }
  EXPECT_GE(proved, count * 9 / 10);
}

/// Pieces of another pattern are refuted wherever elements differ.
TEST(Prove, RandomPiecesOfOtherPatterns) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    Random random(seed);
    Sample a = random.expression(1, false), b = random.expression(1, false);
    SCOPED_TRACE(a.text + " against " + b.text);
    Formula formula = parsed(a.text).formula();
    std::vector<Piece> pieces = piecesOf(parsed(b.text).formula());
    bool differs = false;
    forAll(Rows{20, 20}, 3, [&](const Point &, const Element &e) {
      differs |= a.holds(e) != b.holds(e);
    });
    if (differs)
      expectRefuted(formula, pieces);
  }
}
} // namespace
