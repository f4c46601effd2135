//===- Picture.cpp - patterns as text and pictures ------------------------===//

#include "megactx/Pattern/Picture.h"

using namespace mlir::megactx::pattern;

static bool holdsAt(const Formula &formula, const Rows &rows, int64_t h,
                    int64_t i, int64_t j) {
  Point point;
  point.h = h;
  point.p = rows.query(i);
  point.k = rows.key(j);
  auto symbol = [&](llvm::StringRef) { return rows.keyEnd(); };
  point.symbol = symbol;
  return formula.holds(point);
}

static void printRow(const Formula &formula, const Rows &rows, int64_t h,
                     int64_t i, llvm::raw_ostream &os) {
  os << h << ' ' << i << ':';
  const char *separator = " ";
  for (int64_t j = 0; j < rows.keys; ++j) {
    if (!holdsAt(formula, rows, h, i, j))
      continue;
    int64_t first = j;
    while (j + 1 < rows.keys && holdsAt(formula, rows, h, i, j + 1))
      ++j;
    os << separator << first;
    if (j > first)
      os << '-' << j;
    separator = ",";
  }
  os << '\n';
}

void mlir::megactx::pattern::printRelation(const Formula &formula,
                                           const Rows &rows, int64_t heads,
                                           llvm::raw_ostream &os) {
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < rows.queries; ++i)
      printRow(formula, rows, h, i, os);
}

void mlir::megactx::pattern::printAscii(const Formula &formula,
                                        const Rows &rows, int64_t heads,
                                        llvm::raw_ostream &os) {
  for (int64_t h = 0; h < heads; ++h) {
    if (heads > 1)
      os << "head " << h << '\n';
    for (int64_t i = 0; i < rows.queries; ++i) {
      for (int64_t j = 0; j < rows.keys; ++j)
        os << (holdsAt(formula, rows, h, i, j) ? "# " : ". ");
      os << '\n';
    }
  }
}
