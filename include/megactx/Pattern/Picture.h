//===- Picture.h - patterns as text and pictures ----------------*- C++ -*-===//
//
// Owns what a person or a test sees of a relation. Evaluates formulas, never
// pieces: what is shown does not depend on how it is decomposed.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_PICTURE_H
#define MEGACTX_PATTERN_PICTURE_H

#include "megactx/Pattern/Formula.h"
#include "megactx/Pattern/Rows.h"

namespace mlir::megactx::pattern {

/// Pairs of rows that the element-wise printers accept, over all heads.
constexpr int64_t kMaxPrintedPairs = int64_t(1) << 28;

/// One line for each head and query row, `h i: a-b,c,d-e`: its key rows.
void printRelation(const Formula &formula, const Rows &rows, int64_t heads,
                   llvm::raw_ostream &os);

/// A grid for each head: `#` where a query row (down) attends a key row.
void printAscii(const Formula &formula, const Rows &rows, int64_t heads,
                llvm::raw_ostream &os);

/// Heads that a picture shows.
constexpr int64_t kMaxDrawnHeads = 64;

/// The same as an SVG picture under a title, which is the pattern's text. Cells
/// are single pairs up to 256 rows; beyond, squares of 2^n rows whose shade is
/// their share of pairs, so that its size is bounded whatever the rows are.
void printSvg(const Formula &formula, const Rows &rows, int64_t heads,
              llvm::StringRef title, llvm::raw_ostream &os);

} // namespace mlir::megactx::pattern

#endif
