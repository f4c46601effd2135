//===- RecentKeys.cpp - the pattern `recent_keys` -------------------------===//

#include "Common.h"

using namespace mlir::megactx::pattern;

namespace {
struct RecentKeys : NamedPattern {
  llvm::StringRef name() const override { return "recent_keys"; }
  llvm::StringRef description() const override {
    return "the last count positions of the keys, whatever the query "
           "(MegaContext)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {{"count", Argument::Kind::Integer, 0}};
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    Expr first = Expr::symbol("nk") - integerOf(arguments, "count");
    return Formula::keysBetween(first, Expr());
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::recentKeysPattern() {
  static const RecentKeys pattern;
  return pattern;
}
