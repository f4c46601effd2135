//===- Strided.cpp - the pattern `strided` --------------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

Formula mlir::megactx::pattern::stridedFormula(int64_t stride) {
  Expr distance = Expr::position() - Expr::key();
  return Formula::digit(stride, distance.mod(stride).equals(Expr::constant(0)));
}

namespace {
struct Strided : NamedPattern {
  llvm::StringRef name() const override { return "strided"; }
  llvm::StringRef description() const override {
    return "(p - k) mod stride = 0 (Sparse Transformer, A2)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"stride", Argument::Kind::Integer, 1},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    return stridedFormula(integerOf(arguments, "stride"));
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::stridedPattern() {
  static const Strided pattern;
  return pattern;
}
