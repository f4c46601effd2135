//===- Random.cpp - the pattern `random` ----------------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

namespace {
struct Random : NamedPattern {
  llvm::StringRef name() const override { return "random"; }
  llvm::StringRef description() const override {
    return "count distinct key blocks per query block, by hash (BigBird)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"block", Argument::Kind::Integer, 1},
        {"count", Argument::Kind::Integer, 1},
        {"seed", Argument::Kind::Integer, 0},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    // The key blocks 0 .. nb - 1 are cut into `count` strata of nearly equal
    // size; query block r takes the block number hash(seed, r, t) mod size of
    // stratum t. Membership is closed form and the chosen blocks ascend with t.
    // Where there are at most `count` blocks, each is the only one of its
    // stratum.
    int64_t block = integerOf(arguments, "block");
    int64_t count = integerOf(arguments, "count");
    int64_t seed = integerOf(arguments, "seed");
    if (count > 4096 || seed > UINT32_MAX) {
      error = "expected 'count' of at most 4096 and 'seed' below 2^32";
      return std::nullopt;
    }
    Expr row = Expr::position().floorDiv(block);
    Expr column = Expr::key().floorDiv(block);
    Expr blocks = (Expr::symbol("nk") + (block - 1)).floorDiv(block);
    // No stratum has the blocks of keys before position 0.
    Expr stratum = Expr::max((column * count + (count - 1)).floorDiv(blocks),
                             Expr::constant(0));
    Expr begin = (stratum * blocks).floorDiv(count);
    Expr end = ((stratum + 1) * blocks).floorDiv(count);
    Expr chosen = begin + Expr::hash(seed, row, stratum).mod(end - begin);
    return Formula::test(column.equals(chosen));
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::randomPattern() {
  static const Random pattern;
  return pattern;
}
