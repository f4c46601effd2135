//===- KeyRuns.h - where an expression stays along the keys -----*- C++ -*-===//
//
// Owns the intervals of key positions (or, the other way, row positions) on
// which an expression is constant, found without visiting each position.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_KEYRUNS_H
#define MEGACTX_LIB_PATTERN_KEYRUNS_H

#include "FlatExpr.h"

namespace mlir::megactx::pattern {

/// The value of an expression at one position, and the first position beyond
/// at which it may be another (INT64_MAX: never).
struct Run {
  int64_t value;
  int64_t end;
};

/// An expression of p and k, seen along one of them while the other stays.
/// Terms of the other are evaluated once per `fix`; runs of terms of the
/// variable alone are remembered (up to a few thousand of them), whatever the
/// other is. Not for use by several threads at once.
class Walk {
public:
  /// `variable`: Kind::Key or Kind::Position. Symbols and heads are 0.
  Walk(const Expr &expr, Expr::Kind variable);
  Walk(Walk &&) = default;

  /// Sets the position that stays. Comes before `at`.
  void fix(int64_t other);

  /// The run from a position on. It is as long as comparisons of chains (+, *,
  /// floordiv, mod of the variable) show, and has one position at least.
  Run at(int64_t position);

private:
  struct Span {
    int64_t begin, end, value;
  };
  /// What is known of a node.
  struct State {
    bool moves = false; ///< uses the variable
    bool uses = false;  ///< uses the other one
    bool remembers = false;
    bool wraps = false; ///< has a `mod` of the variable in it
    /// 1 or -1 where it ascends or descends along the variable, at least up to
    /// the next step of a `mod`; 0 where that is not known.
    int slope = 0;
    uint64_t valueTime = 0, runTime = 0;
    int64_t value = 0; ///< at valueTime; of a node that stays, always
    Run run = {0, 0};  ///< at runTime
    std::vector<Span> spans;
    size_t cursor = 0;
  };

  void describe(unsigned n);
  int64_t value(unsigned n);
  int64_t compute(unsigned n);
  Run run(unsigned n);
  Run computeRun(unsigned n);
  Run remembered(unsigned n);
  int64_t reach(unsigned n, int64_t target);
  int64_t validity(unsigned n);
  Run compare(unsigned n);
  Run member(unsigned n);
  Run connective(unsigned n);

  FlatExpr expr;
  llvm::ArrayRef<FlatExpr::Node> nodes;
  Expr::Kind variable;
  std::vector<State> states;
  std::vector<unsigned> staying; ///< nodes of the other one alone
  Point point;
  int64_t here = 0;
  uint64_t time = 0;
};

} // namespace mlir::megactx::pattern

#endif
