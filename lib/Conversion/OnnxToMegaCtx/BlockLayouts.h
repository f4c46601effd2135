//===- BlockLayouts.h - patterns of tables of blocks ------------*- C++ -*-===//
//
// Owns what a table of blocks in CSR form, as onnxruntime's SparseAttention has
// it, is as a pattern.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_BLOCKLAYOUTS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_BLOCKLAYOUTS_H

#include "Nodes.h"
#include <string>

namespace mlir::megactx::raise {

/// Tables of blocks of tokens. Row r of layout l has the key blocks
/// columns[l][rows[l][r]] to columns[l][rows[l][r + 1] - 1]; head h has layout
/// h mod the number of layouts.
struct BlockLayouts {
  Value rows;    ///< [layouts, R + 1], a constant
  Value columns; ///< [layouts, most entries], a constant
  int64_t block; ///< in tokens

  /// Tokens that the tables are for, of checked ones.
  int64_t tokens() const;

  /// Writes the causal pattern, or returns why there is none. Blocks before a
  /// row's own together with columns that come again and again are formulas,
  /// whose pieces need no tests; others stay tables.
  std::string toPattern(std::string &pattern) const;
};

} // namespace mlir::megactx::raise

#endif
