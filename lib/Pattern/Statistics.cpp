//===- Statistics.cpp - how much work a pattern is ------------------------===//

#include "megactx/Pattern/Statistics.h"
#include <algorithm>

using namespace mlir::megactx::pattern;

/// Keys at or after key row 0 and before the end, by position.
static int64_t countRow(const Piece &piece, const Rows &rows, Point point) {
  int64_t end = (rows.keys - 1) * rows.keyStep + rows.keyOffset + 1;
  int64_t lo = rows.keyOffset, hi = end;
  for (const Expr &bound : piece.lo)
    lo = std::max(lo, evaluate(bound, point));
  for (const Expr &bound : piece.hi)
    hi = std::min(hi, evaluate(bound, point));
  if (point.p < piece.rowBegin || point.p >= piece.rowEnd || lo >= hi)
    return 0;
  if (piece.test || (rows.keyStep != 1 && !piece.digits.isIdentity())) {
    int64_t count = 0;
    int64_t first = -floorDivide(rows.keyOffset - lo, rows.keyStep);
    for (int64_t j = first; j * rows.keyStep + rows.keyOffset < hi; ++j) {
      point.k = j * rows.keyStep + rows.keyOffset;
      count += piece.holds(point);
    }
    return count;
  }
  if (piece.digits.isIdentity())
    return -floorDivide(rows.keyOffset - hi, rows.keyStep) +
           floorDivide(rows.keyOffset - lo, rows.keyStep);
  int64_t residue = floorMod(point.p, piece.digits.period);
  for (const Digits::Class &c : piece.digits.classes)
    if (std::binary_search(c.queries.begin(), c.queries.end(), residue))
      return rank(piece.digits.period, c.keys, hi) -
             rank(piece.digits.period, c.keys, lo);
  return 0;
}

int64_t mlir::megactx::pattern::countPairs(llvm::ArrayRef<Piece> pieces,
                                           const Rows &rows, int64_t head) {
  int64_t end = (rows.keys - 1) * rows.keyStep + rows.keyOffset + 1;
  auto symbol = [&](llvm::StringRef) { return end; };
  int64_t total = 0;
  for (const Piece &piece : pieces) {
    Point point;
    point.h = head;
    point.symbol = symbol;
    if (piece.heads && !evaluate(piece.heads, point))
      continue;
    for (int64_t i = 0; i < rows.queries; ++i) {
      point.p = i * rows.queryStep + rows.queryOffset;
      total += countRow(piece, rows, point);
    }
  }
  return total;
}
