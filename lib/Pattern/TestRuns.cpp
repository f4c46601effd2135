//===- TestRuns.cpp - the keys for which a test holds ---------------------===//

#include "TestRuns.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>

using namespace mlir::megactx::pattern;

TestRuns::TestRuns(const PieceRows &piece, const Expr &test, Budget &budget)
    : piece(piece), budget(budget), keys(test, Expr::Kind::Key) {
  std::vector<Expr> known;
  addTerms(test, known);
}

void TestRuns::addTerms(const Expr &e, std::vector<Expr> &known) {
  if (!e.uses(Expr::Kind::Position))
    return;
  if (e.uses(Expr::Kind::Key)) {
    for (const Expr &arg : e.args())
      addTerms(arg, known);
  } else if (!llvm::is_contained(known, e)) {
    known.push_back(e);
    terms.emplace_back(e, Expr::Kind::Position);
  }
}

int64_t TestRuns::endOfAlike(int64_t row) {
  const Rows &rows = piece.rows;
  int64_t change = INT64_MAX;
  for (Walk &term : terms)
    change = std::min(change, term.at(rows.query(row)).end);
  return rowsBetween(0, change, rows.queryStep, rows.queryOffset, piece.rowEnd)
      .second;
}

TestRuns::Runs TestRuns::at(int64_t row, int64_t first, int64_t last) {
  const Rows &rows = piece.rows;
  keys.fix(rows.query(row));
  Runs runs;
  for (int64_t j = first; j < last && budget.spend();) {
    Run run = keys.at(rows.key(j));
    int64_t end =
        rowsBetween(0, run.end, rows.keyStep, rows.keyOffset, last).second;
    if (run.value && !runs.empty() && runs.back().second == j)
      runs.back().second = end;
    else if (run.value)
      runs.push_back({j, end});
    j = end;
  }
  return runs;
}
