//===- Window.cpp - the pattern `window` ----------------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

Formula mlir::megactx::pattern::windowFormula(int64_t left, int64_t right) {
  Expr p = Expr::position();
  return Formula::keysBetween(left < 0 ? Expr() : p - left,
                              right < 0 ? Expr() : p + (right + 1));
}

namespace {
struct Window : NamedPattern {
  llvm::StringRef name() const override { return "window"; }
  llvm::StringRef description() const override {
    return "p - left <= k <= p + right, tokens; -1 = open (Longformer, ONNX "
           "Attention)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"left", Argument::Kind::Integer, -1},
        {"right", Argument::Kind::Integer, -1},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    return windowFormula(integerOf(arguments, "left"),
                         integerOf(arguments, "right"));
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::windowPattern() {
  static const Window pattern;
  return pattern;
}
