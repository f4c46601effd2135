//===- Dense.cpp - the pattern `dense` ------------------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

namespace {
struct Dense : NamedPattern {
  llvm::StringRef name() const override { return "dense"; }
  llvm::StringRef description() const override { return "every key"; }
  llvm::ArrayRef<Parameter> parameters() const override { return {}; }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    return Formula(true);
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::densePattern() {
  static const Dense pattern;
  return pattern;
}
