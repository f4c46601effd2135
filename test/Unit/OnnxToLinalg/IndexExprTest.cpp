//===- IndexExprTest.cpp - shape arithmetic says what it computes ---------===//

#include "IndexExpr.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "gtest/gtest.h"
#include <random>

using namespace mlir;
using namespace mlir::megactx;

namespace {
using Numbers = std::vector<int64_t>; ///< one for each of some choices of sizes

/// An expression, and what it is by arithmetic on numbers.
struct Known {
  IndexExpr expr;
  Numbers numbers;
};

int64_t floorOf(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

struct IndexExprTest : testing::Test {
  static constexpr int kChoices = 24;

  IndexExprTest() : b(&context), ix(b), loc(b.getUnknownLoc()) {
    context.loadDialect<arith::ArithDialect, func::FuncDialect>();
    module = ModuleOp::create(loc);
    SmallVector<Type> types(3, b.getIndexType());
    auto function =
        func::FuncOp::create(loc, "f", b.getFunctionType(types, {}));
    module->push_back(function);
    block = function.addEntryBlock();
    b.setInsertionPointToEnd(block);
    std::mt19937 random(7);
    for (BlockArgument arg : block->getArguments()) {
      bool isSize = arg.getArgNumber() < 2;
      Numbers numbers;
      for (int i = 0; i < kChoices; ++i)
        numbers.push_back(i == 0   ? 0
                          : isSize ? int64_t(random() % 700)
                                   : int64_t(random() % 1400) - 700);
      given.push_back(
          {ix.symbol(arg, isSize ? std::optional<int64_t>(0) : std::nullopt),
           numbers});
    }
  }

  /// What the emitted code computes of a choice of sizes.
  int64_t run(Value result, int choice) {
    DenseMap<Value, Attribute> known;
    for (auto [arg, symbol] : llvm::zip(block->getArguments(), given))
      known[arg] = b.getIndexAttr(symbol.numbers[choice]);
    for (Operation &op : *block) {
      SmallVector<Attribute> operands = llvm::map_to_vector(
          op.getOperands(), [&](Value operand) { return known[operand]; });
      SmallVector<OpFoldResult> results;
      if (failed(op.fold(operands, results)) || results.size() != 1) {
        ADD_FAILURE() << "no constant for an op";
        return 0;
      }
      auto value = dyn_cast<Value>(results[0]);
      known[op.getResult(0)] =
          value ? known[value] : cast<Attribute>(results[0]);
    }
    return cast<IntegerAttr>(known[result]).getInt();
  }

  template <typename F>
  static Numbers each(const Known &x, const Known &y, F f) {
    Numbers numbers;
    for (auto [p, q] : llvm::zip_equal(x.numbers, y.numbers))
      numbers.push_back(f(p, q));
    return numbers;
  }

  Known number(int64_t value) {
    return {IndexExpr(value), Numbers(kChoices, value)};
  }

  Known combined(int kind, const Known &x, const Known &y, int64_t d) {
    switch (kind) {
    case 0:
      return {x.expr + y.expr, each(x, y, std::plus<>())};
    case 1:
      return {x.expr - y.expr, each(x, y, std::minus<>())};
    case 2:
      return {x.expr * y.expr, each(x, y, std::multiplies<>())};
    case 3:
      return {ix.min(loc, x.expr, y.expr),
              each(x, y, [](int64_t p, int64_t q) { return std::min(p, q); })};
    case 4:
      return {ix.max(loc, x.expr, y.expr),
              each(x, y, [](int64_t p, int64_t q) { return std::max(p, q); })};
    case 5:
      return {ix.compare(loc, Compare::Le, x.expr, y.expr),
              each(x, y, std::less_equal<>())};
    case 6:
      return {ix.mod(loc, x.expr, d), each(x, y, [&](int64_t p, int64_t) {
                return p - floorOf(p, d) * d;
              })};
    default:
      return {ix.floorDiv(loc, x.expr, d),
              each(x, y, [&](int64_t p, int64_t) { return floorOf(p, d); })};
    }
  }

  Known sizeUpTo(const Known &size, int64_t block) {
    // As exporters write it: size + (block - size % block) % block.
    Known rest = combined(6, size, size, block);
    Known pad = combined(6, combined(1, number(block), rest, 0), rest, block);
    return combined(0, size, pad, 0);
  }

  MLIRContext context;
  OpBuilder b;
  IndexSpace ix;
  Location loc;
  OwningOpRef<ModuleOp> module;
  Block *block;
  std::vector<Known> given;
};
} // namespace

TEST_F(IndexExprTest, BlocksOfPaddedSizesAreOneNumber) {
  Known padded = sizeUpTo(given[0], 128);
  EXPECT_TRUE(ix.isNonNegative(padded.expr - given[0].expr));
  IndexExpr blocks = ix.floorDiv(loc, padded.expr, 128);
  EXPECT_EQ(padded.expr, blocks * IndexExpr(128));
  EXPECT_EQ(blocks, ix.floorDiv(loc, given[0].expr + IndexExpr(127), 128));
  EXPECT_EQ(blocks,
            IndexExpr(0) - ix.floorDiv(loc, IndexExpr(0) - given[0].expr, 128));
  // By what is left of a product of sizes.
  IndexExpr all = given[1].expr * padded.expr * IndexExpr(512);
  EXPECT_EQ(blocks, ix.floorDiv(loc, all, given[1].expr * IndexExpr(65536)));
  EXPECT_EQ(given[0].expr, ix.min(loc, given[0].expr, padded.expr));
}

TEST_F(IndexExprTest, QuotientsThatAreEqualHaveOneForm) {
  const IndexExpr &n = given[0].expr, &m = given[1].expr;
  EXPECT_EQ(ix.floorDiv(loc, n * 130 + IndexExpr(257), 128),
            n + IndexExpr(2) + ix.floorDiv(loc, n, 64));
  EXPECT_EQ(ix.floorDiv(loc, n * m + m, m * IndexExpr(2)),
            ix.floorDiv(loc, n + IndexExpr(1), 2));
  EXPECT_EQ(ix.floorDiv(loc, n * 6 + IndexExpr(5), 9),
            ix.floorDiv(loc, n * 2 + IndexExpr(1), 3));
}

TEST_F(IndexExprTest, CodeComputesWhatExpressionsSay) {
  std::mt19937 random(11);
  for (int round = 0; round < 40; ++round) {
    std::vector<Known> all(given);
    for (int step = 0; step < 12; ++step) {
      auto pick = [&]() -> Known {
        if (random() % 4 == 0)
          return number(int64_t(random() % 300) - 100);
        return all[random() % all.size()];
      };
      const int64_t divisors[] = {1, 2, 3, 7, 16, 128};
      Known next =
          combined(random() % 10, pick(), pick(), divisors[random() % 6]);
      if (llvm::all_of(next.numbers,
                       [](int64_t x) { return x > -1000000 && x < 1000000; }))
        all.push_back(next);
    }
    for (const Known &known : all) {
      Value value = ix.value(loc, known.expr);
      for (int choice : {0, 1, 2, kChoices - 1})
        ASSERT_EQ(run(value, choice), known.numbers[choice]);
      auto least = llvm::min_element(known.numbers);
      if (auto bound = ix.lowerBound(known.expr))
        ASSERT_LE(*bound, *least);
      for (const Known &other : all)
        if (auto isLess = ix.decide(Compare::Lt, known.expr, other.expr))
          for (auto [x, y] : llvm::zip_equal(known.numbers, other.numbers))
            ASSERT_EQ(*isLess, x < y);
    }
  }
}

TEST_F(IndexExprTest, BoundsOfQuotients) {
  const IndexExpr &n = given[0].expr, &any = given[2].expr;
  IndexExpr half = ix.floorDiv(loc, n, 2);
  EXPECT_EQ(ix.lowerBound(n - half * IndexExpr(2)), 0);
  EXPECT_EQ(ix.lowerBound(half * IndexExpr(2) - n), -1);
  EXPECT_EQ(ix.lowerBound(n * 3 - half * IndexExpr(2)), 0);
  EXPECT_EQ(ix.lowerBound(half - n), std::nullopt);
  EXPECT_EQ(ix.lowerBound(any - ix.floorDiv(loc, any, 5) * IndexExpr(5)), 0);
  // What is too large to be multiplied says nothing.
  EXPECT_EQ(ix.lowerBound(n - half * IndexExpr(int64_t(1) << 62)),
            std::nullopt);
}
