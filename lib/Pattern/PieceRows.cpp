//===- PieceRows.cpp - a piece in rows instead of positions ---------------===//

#include "PieceRows.h"
#include "Bounds.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <numeric>

using namespace mlir::megactx::pattern;

RowSet::RowSet(int64_t period, std::vector<std::pair<int64_t, int64_t>> runs)
    : period(period), runs(std::move(runs)), before{0} {
  for (auto [begin, end] : this->runs)
    before.push_back(before.back() + end - begin);
}

RowSet RowSet::of(int64_t period, std::vector<int64_t> rows) {
  llvm::sort(rows);
  std::vector<std::pair<int64_t, int64_t>> runs;
  for (int64_t j : rows) {
    if (runs.empty() || runs.back().second != j)
      runs.push_back({j, j});
    ++runs.back().second;
  }
  return RowSet(period, std::move(runs));
}

int64_t RowSet::rank(int64_t j) const {
  int64_t periods = floorDivide(j, period), rest = j - periods * period;
  auto run =
      std::upper_bound(runs.begin(), runs.end(), rest,
                       [](int64_t x, const std::pair<int64_t, int64_t> &r) {
                         return x < r.first;
                       });
  int64_t below = 0;
  if (run != runs.begin()) {
    --run;
    below =
        before[run - runs.begin()] + std::min(rest, run->second) - run->first;
  }
  return periods * size() + below;
}

int64_t RowSet::unrank(int64_t rank) const {
  int64_t periods = floorDivide(rank, size()), rest = rank - periods * size();
  size_t run =
      std::upper_bound(before.begin(), before.end(), rest) - before.begin() - 1;
  return periods * period + runs[run].first + (rest - before[run]);
}

std::pair<int64_t, int64_t>
mlir::megactx::pattern::rowsBetween(int64_t begin, int64_t end, int64_t step,
                                    int64_t offset, int64_t count) {
  auto firstAt = [&](int64_t position) {
    position =
        std::clamp<int64_t>(position, -4 * kMaxPosition, 4 * kMaxPosition);
    return std::clamp<int64_t>(-floorDivide(offset - position, step), 0, count);
  };
  return {firstAt(begin), firstAt(end)};
}

bool mlir::megactx::pattern::isChosenFor(const Piece &piece, int64_t head) {
  Point point;
  point.h = head;
  return !piece.heads || evaluate(piece.heads, point);
}

PieceRows::PieceRows(const Piece &piece, const Rows &rows, int64_t head)
    : piece(piece), rows(rows), head(head) {
  std::tie(rowBegin, rowEnd) =
      rowsBetween(piece.rowBegin, piece.rowEnd, rows.queryStep,
                  rows.queryOffset, rows.queries);
  lo = {Expr::constant(0)};
  hi = {Expr::constant(rows.keys)};
  for (const Expr &bound : piece.lo)
    lo.push_back(asKeyRow(bind(bound), rows));
  for (const Expr &bound : piece.hi)
    hi.push_back(asKeyRow(bind(bound), rows));
  int64_t m = piece.digits.period;
  queryPeriod = m / std::gcd(m, rows.queryStep);
  keyPeriod = m / std::gcd(m, rows.keyStep);
}

Expr PieceRows::bind(const Expr &e) const { return bindLeaves(e, rows, head); }

FlatExpr PieceRows::greatestLo() const {
  Expr all = lo.front();
  for (const Expr &bound : llvm::ArrayRef(lo).drop_front())
    all = Expr::max(all, bound);
  return FlatExpr(all);
}

FlatExpr PieceRows::leastHi() const {
  Expr all = hi.front();
  for (const Expr &bound : llvm::ArrayRef(hi).drop_front())
    all = Expr::min(all, bound);
  return FlatExpr(all);
}

std::vector<PieceRows::View> PieceRows::views() const {
  int64_t m = piece.digits.period;
  // Rows of one period by the residue of their positions.
  std::vector<int64_t> queryOf(m, -1), keyOf(m, -1);
  for (int64_t i = 0; i < queryPeriod; ++i)
    queryOf[floorMod(rows.query(i), m)] = i;
  for (int64_t j = 0; j < keyPeriod; ++j)
    keyOf[floorMod(rows.key(j), m)] = j;
  auto setOf = [](llvm::ArrayRef<int64_t> residues,
                  llvm::ArrayRef<int64_t> rowOf, int64_t period) {
    std::vector<int64_t> members;
    for (int64_t residue : residues)
      if (rowOf[residue] >= 0)
        members.push_back(rowOf[residue]);
    return RowSet::of(period, std::move(members));
  };
  std::vector<View> views;
  for (const Digits::Class &c : piece.digits.classes)
    views.push_back({setOf(c.queries, queryOf, queryPeriod),
                     setOf(c.keys, keyOf, keyPeriod)});
  return views;
}
