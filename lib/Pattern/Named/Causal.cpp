//===- Causal.cpp - the pattern `causal` ----------------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

namespace {
struct Causal : NamedPattern {
  llvm::StringRef name() const override { return "causal"; }
  llvm::StringRef description() const override { return "k <= p"; }
  llvm::ArrayRef<Parameter> parameters() const override { return {}; }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    return Formula::keysBelow(Expr::position() + 1);
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::causalPattern() {
  static const Causal pattern;
  return pattern;
}
