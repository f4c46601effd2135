//===- Dilated.cpp - the pattern `dilated` --------------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

namespace {
struct Dilated : NamedPattern {
  llvm::StringRef name() const override { return "dilated"; }
  llvm::StringRef description() const override {
    return "strided<dilation> and window<dilation * left, dilation * right> "
           "(Longformer)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"left", Argument::Kind::Integer, -1},
        {"right", Argument::Kind::Integer, -1},
        {"dilation", Argument::Kind::Integer, 1},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    int64_t dilation = integerOf(arguments, "dilation");
    auto scaled = [&](llvm::StringRef side) -> int64_t {
      int64_t value = integerOf(arguments, side);
      return value < 0 ? -1 : value * dilation;
    };
    for (llvm::StringRef side : {"left", "right"}) {
      int64_t value = integerOf(arguments, side);
      if (value > kMaxPosition / dilation) {
        error = "'" + side.str() + "' times 'dilation' is too large";
        return std::nullopt;
      }
    }
    return stridedFormula(dilation) &&
           windowFormula(scaled("left"), scaled("right"));
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::dilatedPattern() {
  static const Dilated pattern;
  return pattern;
}
