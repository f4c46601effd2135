//===- GlobalQueries.cpp - the pattern `global_queries` -------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

namespace {
struct GlobalQueries : NamedPattern {
  llvm::StringRef name() const override { return "global_queries"; }
  llvm::StringRef description() const override {
    return "p < first, or p in indices (Longformer, BigBird)";
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
    Formula result = firstOrListed(arguments, false, error);
    if (!error.empty())
      return std::nullopt;
    return result;
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::globalQueriesPattern() {
  static const GlobalQueries pattern;
  return pattern;
}
