//===- Pyramid.cpp - the pattern `pyramid` --------------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

namespace {
struct Pyramid : NamedPattern {
  llvm::StringRef name() const override { return "pyramid"; }
  llvm::StringRef description() const override {
    return "a source of step ratio^l attends a(l+1) <= k < a(l), where a(0) = "
           "p + 1, "
           "a(l+1) = s max(0, floor(a(l) / s) - windows[l]) with s = "
           "ratio^(l+1), and 0 "
           "after the last level (MegaContext)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"ratio", Argument::Kind::Integer, 2},
        {"windows", Argument::Kind::List, 0},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    int64_t ratio = integerOf(arguments, "ratio");
    llvm::ArrayRef<int64_t> windows = listOf(arguments, "windows");
    if (windows.empty() || windows.size() > 8) {
      error = "expected 1 to 8 'windows', one per level below the top";
      return std::nullopt;
    }
    int64_t top = 1;
    for (int64_t window : windows) {
      if (top > kMaxPosition / ratio || window > kMaxPosition / (top * ratio)) {
        error = "'ratio' to the number of levels is too large";
        return std::nullopt;
      }
      top *= ratio;
    }
    Expr upper = Expr::position() + 1;
    int64_t step = 1;
    for (int64_t window : windows) {
      int64_t next = step * ratio;
      Expr lower =
          Expr::max(upper.floorDiv(next) - window, Expr::constant(0)) * next;
      if (step == keyStep)
        return Formula::keysBetween(lower, upper);
      upper = lower;
      step = next;
    }
    // The top level has everything before; no source has any other step.
    if (step == keyStep)
      return Formula::keysBetween(Expr::constant(0), upper);
    return Formula(false);
  }
  std::vector<int64_t> keySteps(const Arguments &arguments) const override {
    std::vector<int64_t> steps = {1};
    for (size_t level = 0; level < listOf(arguments, "windows").size(); ++level)
      steps.push_back(steps.back() * integerOf(arguments, "ratio"));
    return steps;
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::pyramidPattern() {
  static const Pyramid pattern;
  return pattern;
}
