//===- Where.cpp - the pattern `where` ------------------------------------===//

#include "../FormulaOf.h"
#include "Common.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>

using namespace mlir::megactx::pattern;
using Kind = Expr::Kind;

/// Whether the value is one of true and false.
static bool isTruth(const Expr &expr) {
  switch (expr.kind()) {
  case Kind::Constant:
    return expr.value() == 0 || expr.value() == 1;
  case Kind::And:
  case Kind::Or:
  case Kind::Not:
    return llvm::all_of(expr.args(), isTruth);
  case Kind::Equal:
  case Kind::Less:
  case Kind::In:
    return true;
  default:
    return false;
  }
}

static constexpr int64_t kTooLarge = int64_t(1) << 62;

using Wide = __int128;

static int64_t limited(Wide value) {
  return int64_t(std::min<Wide>(value < 0 ? -value : value, kTooLarge));
}

/// The largest magnitude of the expression, given those of its operands.
static Wide magnitudeOf(const Expr &expr, llvm::ArrayRef<int64_t> args) {
  switch (expr.kind()) {
  case Kind::Constant:
    return expr.value();
  case Kind::Position:
  case Kind::Key:
  case Kind::Symbol:
  case Kind::Operand:
    return (int64_t(1) << 31) - 1;
  case Kind::Head:
  case Kind::Batch:
    return (int64_t(1) << 20) - 1;
  case Kind::Add:
    return Wide(args[0]) + args[1];
  case Kind::Mul:
    return Wide(args[0]) * limited(expr.value());
  case Kind::MulExpr:
    return Wide(args[0]) * args[1];
  case Kind::FloorDiv:
    return args[0] / expr.value() + 1;
  case Kind::Mod:
    return expr.value();
  case Kind::Hash:
    return int64_t(1) << 31;
  case Kind::Table: {
    int64_t most = 0;
    for (int64_t value : expr.table())
      most = std::max(most, limited(value));
    return most;
  }
  default:
    return *std::max_element(args.begin(), args.end());
  }
}

/// The same of the expression and of all within it, at most kTooLarge, where
/// positions are below 2^31, heads and batches below 2^20.
static int64_t magnitudeOf(const Expr &expr) {
  llvm::SmallVector<int64_t, 2> args;
  int64_t most = 0;
  for (const Expr &arg : expr.args()) {
    args.push_back(magnitudeOf(arg));
    most = std::max(most, args.back());
  }
  return std::max(most, limited(magnitudeOf(expr, args)));
}

namespace {
struct Where : NamedPattern {
  llvm::StringRef name() const override { return "where"; }
  llvm::StringRef description() const override {
    return "`condition` holds of the query's position p, the key's k, the head "
           "h and the batch b: what bounds or residues say is as fast as a "
           "pattern with a name, the rest is tested for each pair";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"condition", Argument::Kind::Condition},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    const Expr &condition = arguments.find("condition")->second.condition;
    if (condition.uses(Kind::Operand))
      error = "expected a condition on p, k, h and b alone; 'segments' is a "
              "pattern of its own";
    else if (!isTruth(condition))
      error = "expected a condition, such as k le p and p - k lt 128";
    else if (magnitudeOf(condition) >= kTooLarge)
      error = "expected values below 2^62 at positions below 2^31";
    if (!error.empty())
      return std::nullopt;
    return formulaOf(condition);
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::wherePattern() {
  static const Where pattern;
  return pattern;
}
