//===- BlockLocal.cpp - the pattern `block_local` -------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

Formula mlir::megactx::pattern::blockLocalFormula(int64_t block, int64_t left,
                                                  int64_t right) {
  Expr start = Expr::position().floorDiv(block) * block;
  return Formula::keysBetween(left < 0 ? Expr() : start - left * block,
                              right < 0 ? Expr() : start + (right + 1) * block);
}

namespace {
struct BlockLocal : NamedPattern {
  llvm::StringRef name() const override { return "block_local"; }
  llvm::StringRef description() const override {
    return "k in p's block, one of `left` blocks before it or of `right` after "
           "it; -1 = open (Sparse Transformer fixed, A1; BigBird, Phi-3 small)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"block", Argument::Kind::Integer, 1},
        {"left", Argument::Kind::Integer, -1, false},
        {"right", Argument::Kind::Integer, -1, false},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    int64_t block = integerOf(arguments, "block");
    auto blocks = [&](llvm::StringRef side) {
      return integerOf(arguments, side, /*otherwise=*/0);
    };
    for (llvm::StringRef side : {"left", "right"}) {
      if (blocks(side) > kMaxPosition / block) {
        error = "'" + side.str() + "' times 'block' is too large";
        return std::nullopt;
      }
    }
    return blockLocalFormula(block, blocks("left"), blocks("right"));
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::blockLocalPattern() {
  static const BlockLocal pattern;
  return pattern;
}
