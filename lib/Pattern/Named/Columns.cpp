//===- Columns.cpp - the pattern `columns` --------------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

Formula mlir::megactx::pattern::columnsFormula(int64_t block, int64_t first,
                                               int64_t count) {
  Expr digit = Expr::key().mod(block);
  Expr inside = digit.less(Expr::constant(first)).negated() &&
                digit.less(Expr::constant(first + count));
  return count == 0 ? Formula(false) : Formula::digit(block, inside);
}

namespace {
struct Columns : NamedPattern {
  llvm::StringRef name() const override { return "columns"; }
  llvm::StringRef description() const override {
    return "first <= k mod block < first + count (Sparse Transformer fixed, "
           "A2)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"block", Argument::Kind::Integer, 1},
        {"first", Argument::Kind::Integer, 0},
        {"count", Argument::Kind::Integer, 0},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    int64_t block = integerOf(arguments, "block");
    int64_t first = integerOf(arguments, "first");
    int64_t count = integerOf(arguments, "count");
    if (first + count > block) {
      error = "expected 'first' + 'count' to be at most 'block'";
      return std::nullopt;
    }
    return columnsFormula(block, first, count);
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::columnsPattern() {
  static const Columns pattern;
  return pattern;
}
