//===- FlatExpr.h - expressions as arrays -----------------------*- C++ -*-===//
//
// Owns the form of an expression for many evaluations: its distinct nodes in
// one array, operands before what uses them. The same values as `evaluate`.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_FLATEXPR_H
#define MEGACTX_LIB_PATTERN_FLATEXPR_H

#include "megactx/Pattern/Expr.h"
#include "megactx/Pattern/Rows.h"

namespace mlir::megactx::pattern {

/// An expression of p and k alone: for one head, with the symbols' values.
/// Per-row operands (segment ids) and batches are unknown and all alike.
Expr bindLeaves(const Expr &e, const Rows &rows, int64_t head);

class FlatExpr {
public:
  struct Node {
    Expr expr; ///< the node itself, which owns name and table
    Expr::Kind kind;
    int64_t value;
    llvm::ArrayRef<int64_t> table;
    unsigned args = 0;        ///< how many operands it has, at most 2
    unsigned arg[2] = {0, 0}; ///< their indices

    /// Of an operator the value that follows from all nodes' values.
    int64_t apply(llvm::ArrayRef<int64_t> values) const {
      return applyOperator(kind, value, table, values[arg[0]], values[arg[1]]);
    }
  };

  explicit FlatExpr(const Expr &expr);

  /// The value at a point. Costs one operation per node; not for use by
  /// several threads at once.
  int64_t operator()(const Point &point);
  int64_t atRow(int64_t p) {
    Point point;
    point.p = p;
    return (*this)(point);
  }

  llvm::ArrayRef<Node> getNodes() const { return nodes; }
  /// The node of the whole expression: the last.
  unsigned root() const { return nodes.size() - 1; }

private:
  std::vector<Node> nodes;
  std::vector<int64_t> values;
};

} // namespace mlir::megactx::pattern

#endif
