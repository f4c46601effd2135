//===- AlgebraTest.cpp - text and set algebra of patterns -----------------===//

#include "RandomPatterns.h"
#include "gtest/gtest.h"

using namespace mlir::megactx::pattern;
using namespace mlir::megactx::pattern::test;

namespace {
TEST(Pattern, TextReadsBack) {
  for (unsigned seed = 0; seed < 4000; ++seed) {
    Random random(seed);
    Sample sample = random.expression(4);
    Pattern pattern = parsed(sample.text);
    Pattern back = parsed(pattern.str());
    ASSERT_TRUE(pattern == back) << sample.text << "\n" << pattern.str();
    ASSERT_EQ(pattern.str(), back.str());
  }
}

/// Parentheses are dropped only where the grammar binds the same way.
TEST(Pattern, PrintsNeededParenthesesOnly) {
  for (const char *text :
       {"causal and dense or dense minus causal",
        "causal and (dense or causal)", "causal minus (dense minus causal)",
        "dense or (causal or dense)",
        "(causal or dense) and causal minus dense",
        "per_head<[causal or dense, dense minus (causal and dense)]>",
        "per_head<0-2: dense, 3: causal, 4-: dense or causal>"})
    EXPECT_EQ(parsed(text).str(), text);
  EXPECT_EQ(parsed("((causal) and (dense)) or (causal)").str(),
            "causal and dense or causal");
}

/// Two patterns that must be the same relation.
void expectEqual(const std::string &a, const std::string &b, const Rows &rows) {
  Formula left = parsed(a).formula(rows.keyStep);
  Formula right = parsed(b).formula(rows.keyStep);
  forAll(rows, 3, [&](const Point &point, const Element &e) {
    ASSERT_EQ(left.holds(point), right.holds(point))
        << a << "\n"
        << b << "\np = " << e.p << ", k = " << e.k;
  });
}

TEST(Pattern, LawsOfSetAlgebra) {
  for (unsigned seed = 0; seed < 1000 && !testing::Test::HasFailure(); ++seed) {
    Random random(seed);
    auto operand = [&] { return "(" + random.expression(1).text + ")"; };
    std::string a = operand(), b = operand(), c = operand();
    Rows rows = random.rows();
    expectEqual(a + " and " + b, b + " and " + a, rows);
    expectEqual(a + " or " + b, b + " or " + a, rows);
    expectEqual(a + " or " + b + " or " + c, a + " or (" + b + " or " + c + ")",
                rows);
    expectEqual(a + " and (" + b + " or " + c + ")",
                a + " and " + b + " or " + a + " and " + c, rows);
    expectEqual(a + " or " + b + " and " + c,
                "(" + a + " or " + b + ") and (" + a + " or " + c + ")", rows);
    expectEqual("dense minus (" + a + " or " + b + ")",
                "dense minus " + a + " minus " + b, rows);
    expectEqual(a + " minus " + b, a + " and (dense minus " + b + ")", rows);
    expectEqual("dense minus (dense minus " + a + ")", a, rows);
    expectEqual(a + " or " + a + " and " + b, a, rows);
  }
}

TEST(Formula, SimplifiesAsItIsBuilt) {
  Formula causal = Formula::keysBelow(Expr::position() + 1);
  Formula rows = Formula::rowsBelow(3);
  EXPECT_TRUE((causal && !causal).isFalse());
  EXPECT_TRUE((causal || !causal).isTrue());
  EXPECT_TRUE((causal && causal) == causal);
  EXPECT_TRUE((causal && Formula(true)) == causal);
  EXPECT_TRUE((causal || Formula(true)).isTrue());
  EXPECT_TRUE(!!causal == causal);
  EXPECT_EQ((causal && (rows || causal)).atoms().size(), 2u);
  EXPECT_TRUE((causal && rows).assume(rows.atom(), true) == causal);
  EXPECT_TRUE((causal && rows).assume(rows.atom(), false).isFalse());
}

/// The first error of a text: where, and what.
std::pair<size_t, std::string> errorOf(const std::string &text) {
  std::pair<size_t, std::string> error;
  EXPECT_FALSE(Pattern::parse(text, [&](size_t at, const llvm::Twine &what) {
    error = {at, what.str()};
  }));
  return error;
}

TEST(Pattern, ErrorsPointAtThePlace) {
  std::string deep = std::string(300, '(') + "causal" + std::string(300, ')');
  struct {
    std::string text;
    size_t at;
    const char *message;
  } cases[] = {
      {"", 0, "expected a pattern"},
      {"causal and", 10, "expected a pattern"},
      {"causal causal", 7, "expected 'and', 'or', 'minus'"},
      {"(causal", 7, "expected ')'"},
      {"windw<left = 1>", 0, "did you mean 'window'"},
      {"causal or windw", 10, "unknown pattern 'windw'"},
      {"CAUSAL", 0, "unknown pattern 'CAUSAL', did you mean 'causal'?"},
      {"causal & dense", 7, "the pattern, did you mean 'and' for '&'?"},
      {"causal && dense", 7, "the pattern, did you mean 'and' for '&&'?"},
      {"causal AND dense", 7, "the pattern, did you mean 'and' for 'AND'?"},
      {"causal ORdinary", 7, "or the end of the pattern"},
      {"(causal | dense)", 8, "expected ')', did you mean 'or' for '|'?"},
      {"per_head<[causal || dense]>", 17, "']', did you mean 'or' for '||'?"},
      {"per_head<0-: dense - causal>", 19, "'>', did you mean 'minus' for '-'"},
      {"window(left = 1)", 6, "expected '<', but got '('"},
      {"window<left = 1 right = 2>", 16, "expected ',' or '>'"},
      {"dense and not causal", 10, "did you mean 'dense minus' for 'not'?"},
      {"!causal", 0, "expected a pattern, did you mean 'dense minus' for '!'?"},
      {"window<3, 0>", 7, "the name of a parameter; 'window' has left, right"},
      {"window<left = 1.5>", 14, "expected an integer, but got a fraction"},
      {"window<left = x, right = 0>", 14, "expected an integer"},
      {"window<left = 1>", 0, "'window' needs a value for 'right'"},
      {"window<left = 1, left = 1>", 17, "'left' is given twice"},
      {"window<up = 1>", 7, "it has left, right"},
      {"strided<stride = 0>", 17, "expected 'stride' between 1 and"},
      {"strided<stride = 2000000000000>", 17, "expected 'stride' between"},
      {"strided<stride = 99999999999999999999>", 17, "integer out of range"},
      {"dense<x = 1>", 6, "'dense' has no parameter 'x'"},
      {"columns<block = 4, first = 3, count = 2>", 0, "'first' + 'count'"},
      {"fixed<block = 4, count = 5>", 0, "at most 'block'"},
      {"fixed<block = 400, count = 1, slot = head>", 0, "at most 64 slots"},
      {"global_keys", 0, "expected either 'first' or 'indices'"},
      {"blocks<block = 1, row_ptr = [1], col_idx = []>", 0, "'row_ptr'"},
      {"pyramid<ratio = 2, windows = []>", 0, "1 to 8 'windows'"},
      {"pyramid<ratio = 1000000, windows = [1, 1, 1]>", 0, "too large"},
      {"random<block = 1, count = 5000, seed = 0>", 0, "'count' of at most"},
      {"dilated<left = 1000000000000, right = 0, dilation = 9>", 0,
       "too large"},
      {"per_head<[]>", 10, "expected a pattern"},
      {"per_head<0-1: causal>", 20, "the last range must be open"},
      {"per_head<1-: causal>", 9, "to start at head 0"},
      {deep, 200, "nested more than 200 levels"},
  };
  for (const auto &c : cases) {
    auto [at, message] = errorOf(c.text);
    EXPECT_EQ(at, c.at) << c.text << ": " << message;
    EXPECT_NE(message.find(c.message), std::string::npos)
        << c.text << ": " << message;
  }
}

TEST(Pattern, TooManyConditionsAreAnError) {
  std::string many = "window<left = 0, right = 0>";
  for (int i = 2; i < 300; ++i)
    many += " or strided<stride = " + std::to_string(i) + ">";
  EXPECT_NE(errorOf(many).second.find("more than 256"), std::string::npos);
}

/// However few conditions they come to: what reads a pattern recurses.
TEST(Pattern, TooManyTermsAreAnError) {
  std::string many = "causal";
  for (int i = 1; i < 100000; ++i)
    many += i % 2 ? " or causal" : " and causal";
  EXPECT_NE(errorOf(many).second.find("more than 4096"), std::string::npos);
}

} // namespace
