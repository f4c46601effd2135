//===- BlockLocal.cpp - the pattern `block_local` -------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

Formula mlir::megactx::pattern::blockLocalFormula(int64_t block) {
  Expr start = Expr::position().floorDiv(block) * block;
  return Formula::keysBetween(start, start + block);
}

namespace {
struct BlockLocal : NamedPattern {
  llvm::StringRef name() const override { return "block_local"; }
  llvm::StringRef description() const override {
    return "p and k in the same block (Sparse Transformer fixed, A1)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"block", Argument::Kind::Integer, 1},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    return blockLocalFormula(integerOf(arguments, "block"));
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::blockLocalPattern() {
  static const BlockLocal pattern;
  return pattern;
}
