//===- SegmentBounds.cpp - segments as intervals of keys ------------------===//

#include "megactx/Pattern/SegmentBounds.h"

using namespace mlir::megactx::pattern;

Expr mlir::megactx::pattern::sameSegment() {
  return Expr::operand("query_segments", Expr::position())
      .equals(Expr::operand("key_segments", Expr::key()));
}

/// The conjunction without the factor; `found` says whether it has it.
static Expr withoutFactor(const Expr &conjunction, const Expr &factor,
                          bool &found) {
  if (!conjunction)
    return conjunction;
  if (conjunction == factor) {
    found = true;
    return Expr();
  }
  if (conjunction.kind() != Expr::Kind::And)
    return conjunction;
  return withoutFactor(conjunction.args()[0], factor, found) &&
         withoutFactor(conjunction.args()[1], factor, found);
}

bool mlir::megactx::pattern::boundSegments(Piece &piece) {
  bool found = false;
  Expr rest = withoutFactor(piece.test, sameSegment(), found);
  if (rest && rest.uses(Expr::Kind::Operand))
    return false;
  if (!found)
    return true;
  piece.test = rest;
  piece.lo.push_back(Expr::operand(kSegmentBegin, Expr::position()));
  piece.hi.push_back(Expr::operand(kSegmentEnd, Expr::position()));
  return true;
}

bool mlir::megactx::pattern::speaksOfSegments(const Pattern &pattern,
                                              int64_t keyStep) {
  const Pattern::Node &node = pattern.getNode();
  if (node.kind == Pattern::Kind::Named)
    return llvm::any_of(pattern.formula(keyStep).atoms(), [](const Atom &atom) {
      return atom.expr && atom.expr.uses(Expr::Kind::Operand);
    });
  return llvm::any_of(node.operands, [&](const Pattern &operand) {
    return speaksOfSegments(operand, keyStep);
  });
}

bool mlir::megactx::pattern::readsSegments(const Piece &piece) {
  Expr condition = piece.condition();
  return condition && condition.uses(Expr::Kind::Operand);
}
