//===- Fixed.cpp - the pattern `fixed` ------------------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

namespace {
struct Fixed : NamedPattern {
  llvm::StringRef name() const override { return "fixed"; }
  llvm::StringRef description() const override {
    return "block_local or the columns [block - count(slot + 1), block - count "
           "* slot); "
           "slot = head gives head h the slot h mod (block / count) (Sparse "
           "Transformer)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"block", Argument::Kind::Integer, 1},
        {"count", Argument::Kind::Integer, 1},
        {"slot", Argument::Kind::Integer, 0, false, "head"},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    int64_t block = integerOf(arguments, "block");
    int64_t count = integerOf(arguments, "count");
    int64_t slots = block / count;
    int64_t slot = integerOf(arguments, "slot");
    bool byHead = arguments.count("slot") &&
                  arguments.find("slot")->second.kind == Argument::Kind::Word;
    if (slots < 1 || slot >= slots) {
      error = "expected 'count' * ('slot' + 1) to be at most 'block'";
      return std::nullopt;
    }
    auto columnsOf = [&](int64_t u) {
      return columnsFormula(block, block - count * (u + 1), count);
    };
    if (!byHead)
      return blockLocalFormula(block) || columnsOf(slot);
    if (slots > 64) {
      error = "expected at most 64 slots ('block' / 'count') with slot = head";
      return std::nullopt;
    }
    Formula perHead(false);
    for (int64_t u = 0; u < slots; ++u) {
      Expr isSlot = Expr::head().mod(slots).equals(Expr::constant(u));
      perHead = perHead || (Formula::head(isSlot) && columnsOf(u));
    }
    return blockLocalFormula(block) || perHead;
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::fixedPattern() {
  static const Fixed pattern;
  return pattern;
}
