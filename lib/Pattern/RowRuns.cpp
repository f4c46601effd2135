//===- RowRuns.cpp - the keys of a row, as runs ---------------------------===//

#include "RowRuns.h"
#include "KeyRuns.h"

using namespace mlir::megactx::pattern;

RowRuns::RowRuns(const Formula &formula, const Rows &rows, int64_t head)
    : rows(rows) {
  condition = formula.asExpr().substitute([&](const Expr &leaf) {
    switch (leaf.kind()) {
    case Expr::Kind::Head:
      return Expr::constant(head);
    case Expr::Kind::Batch:
    case Expr::Kind::Operand:
      return Expr::constant(0);
    case Expr::Kind::Symbol:
      return Expr::constant(rows.keyEnd());
    default:
      return Expr();
    }
  });
}

void RowRuns::forEach(int64_t i,
                      llvm::function_ref<void(int64_t, int64_t)> visit) const {
  int64_t begin = -1;
  for (int64_t j = 0; j < rows.keys;) {
    Run run = runAt(condition, rows.query(i), rows.key(j));
    if (run.value && begin < 0)
      begin = j;
    if (!run.value && begin >= 0) {
      visit(begin, j);
      begin = -1;
    }
    // The first key row at or behind the end of the run.
    j = run.end > rows.key(rows.keys - 1)
            ? rows.keys
            : -floorDivide(rows.keyOffset - run.end, rows.keyStep);
  }
  if (begin >= 0)
    visit(begin, rows.keys);
}
