//===- RowRuns.cpp - the keys of a row, as runs ---------------------------===//

#include "RowRuns.h"

using namespace mlir::megactx::pattern;

RowRuns::RowRuns(const Formula &formula, const Rows &rows, int64_t head)
    : condition(bindLeaves(formula.asExpr(), rows, head)), rows(rows),
      walk(condition, Expr::Kind::Key) {}

void RowRuns::forEach(int64_t i,
                      llvm::function_ref<void(int64_t, int64_t)> visit) {
  walk.fix(rows.query(i));
  int64_t begin = -1;
  for (int64_t j = 0; j < rows.keys;) {
    Run run = walk.at(rows.key(j));
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
