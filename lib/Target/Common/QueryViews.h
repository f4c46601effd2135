//===- QueryViews.h - the queries that see a block of keys ------*- C++ -*-===//
//
// Owns the transposed walk over a kernel's pieces: where the key rows of a
// class stand, and which queries see them. Bounds of keys ascend with the
// query, so that the queries of a block of keys are an interval too, found by
// bisection.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_COMMON_QUERYVIEWS_H
#define MEGACTX_LIB_TARGET_COMMON_QUERYVIEWS_H

#include "KeyViews.h"

namespace mlir::megactx {

class QueryViews {
public:
  /// Key rows of the pieces' transposed views; `rows` says where rows stand and
  /// what they see.
  QueryViews(ImplicitLocOpBuilder &b, Operation *module,
             const AttentionShape &shape, const KernelArguments &arguments,
             KeyViews &rows);

  /// Key rows of one class are this far apart; each of the classes has one
  /// residue.
  int64_t period() const { return thePeriod; }
  int64_t classes() const { return numClasses; }

  /// Turns to the key rows of one class and batch. Sets firstRow, and rowsHere
  /// to the number of those that exist.
  void enter(Value batch, Value keyClass, Value keys);
  /// Turns to one of the query heads that read them.
  void enterHead(Value head) { rows.enterHead(batch, head); }

  /// Of the i-th key row of the class: its number.
  Value rowAt(Value i) const;
  /// Which queries of the piece's query view, in its numbers, may see a key in
  /// the positions [lowest, highest]; `queries` are all rows.
  std::pair<Value, Value> queriesOf(unsigned piece, Value lowest, Value highest,
                                    Value queries) const;
  /// The query row of a number of that view.
  Value queryRow(unsigned piece, Value number) const;

  Value batch, firstRow, rowsHere;

private:
  /// Query residues of a piece: offsets per class of keys, and the residues.
  struct QueryTable {
    Value begin, residues;
  };
  void readPiece(const pattern::Digits &view);
  std::pair<Value, Value> residuesOf(const QueryTable &table) const;

  ImplicitLocOpBuilder &b;
  Arith a;
  Operation *module;
  const AttentionShape &shape;
  const KernelArguments &arguments;
  KeyViews &rows;
  int64_t thePeriod, numClasses;
  Value keyClass, keyResidues;
  SmallVector<QueryTable> tables;
};

} // namespace mlir::megactx

#endif
