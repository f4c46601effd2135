//===- GlobalKeys.cpp - the pattern `global_keys` -------------------------===//

#include "Common.h"
#include <algorithm>

using namespace mlir::megactx::pattern;

Formula mlir::megactx::pattern::firstOrListed(const Arguments &arguments,
                                              bool ofKeys, std::string &error) {
  bool hasFirst = arguments.count("first");
  if (hasFirst == bool(arguments.count("indices"))) {
    error = "expected either 'first' or 'indices'";
    return Formula(false);
  }
  if (hasFirst) {
    int64_t first = integerOf(arguments, "first");
    return ofKeys ? Formula::keysBelow(Expr::constant(first))
                  : Formula::rowsBelow(first);
  }
  std::vector<int64_t> sorted = listOf(arguments, "indices").vec();
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  if (sorted.empty())
    return Formula(false);
  return Formula::test(
      Expr::in(ofKeys ? Expr::key() : Expr::position(), std::move(sorted)));
}

namespace {
struct GlobalKeys : NamedPattern {
  llvm::StringRef name() const override { return "global_keys"; }
  llvm::StringRef description() const override {
    return "k < first, or k in indices (Longformer, BigBird)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"first", Argument::Kind::Integer, 0, false},
        {"indices", Argument::Kind::List, 0, false},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    Formula result = firstOrListed(arguments, true, error);
    if (!error.empty())
      return std::nullopt;
    return result;
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::globalKeysPattern() {
  static const GlobalKeys pattern;
  return pattern;
}
