//===- KeyViews.h - rows, keys and bounds of a kernel's pieces --*- C++ -*-===//
//
// Owns where the rows of a class stand and which keys they see: tables of
// residues, ranks, and the interval of keys of a row. All are index values; in
// what vectors or tiles a target walks them is its own.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_COMMON_KEYVIEWS_H
#define MEGACTX_LIB_TARGET_COMMON_KEYVIEWS_H

#include "AttentionShape.h"
#include "Emit.h"
#include "megactx/Dialect/MegaCtx/IR/EmitExpr.h"

namespace mlir::megactx {

class KeyViews {
public:
  /// Reads the tables of all pieces, constants of the module that are no larger
  /// than the period. Residues that see no key are classes too, without keys,
  /// where the kernel writes rows that nobody wrote before.
  KeyViews(ImplicitLocOpBuilder &b, Operation *module,
           const AttentionShape &shape, const KernelArguments &arguments);

  /// Rows of one class are this far apart; each of the classes has one residue.
  static int64_t periodOf(const AttentionShape &shape);
  static int64_t classesOf(const AttentionShape &shape);
  int64_t period() const { return thePeriod; }
  int64_t classes() const { return numClasses; }

  /// Turns to a head, whatever rows of it.
  void enterHead(Value batch, Value head);
  /// Turns to the rows of one class, an index below classes(); `queries` are
  /// all rows. Sets firstRow and rowsHere.
  void enter(Value batch, Value head, Value viewClass, Value queries);
  /// Sets keyEnd to the number of the batch's keys: all of `keys`, or its
  /// length where there are lengths.
  void readKeyEnd(Value keys);

  /// Of the i-th row of the class: its number; and of a row: its position.
  Value rowAt(Value i) const;
  Value positionOf(Value row) const;
  /// The position of a key's row in memory.
  Value positionOfKey(Value row) const;
  /// One that no key stands below.
  Value firstPosition() const;
  /// The offset of queries of the batch that was entered.
  Value offsetOfQueries() const { return queryOffset; }

  /// The leaves of expressions at a query position.
  ExprLeaves leaves(Value position) const;
  /// Key positions [max lo, min hi) of a row, whether it is one of the piece's
  /// rows or not; hi may be below lo.
  std::pair<Value, Value> interval(unsigned piece, Value position) const;
  /// The same; empty where the row is not one of the piece's.
  std::pair<Value, Value> rowInterval(unsigned piece, Value position) const;
  /// The interval of positions in the numbers of the piece's key view.
  std::pair<Value, Value> inView(unsigned piece, Value lo, Value hi) const;
  /// The keys of a row, [begin, end) in these numbers: none where it is not one
  /// of the piece's rows. Says nothing of heads.
  std::pair<Value, Value> keysOf(unsigned piece, Value position) const;

  /// The class's residues in the table of a piece, null for the identity;
  /// `first`: where they follow each other, the first.
  struct Places {
    Value begin, count, first;
  };
  Places places(unsigned piece) const;
  /// Rows in memory from a number of the key view to the one so many later,
  /// where that is the same for all.
  std::optional<int64_t> keyStep(unsigned piece, int64_t numbers) const;
  /// The row in memory of a number of the key view.
  Value keyRow(unsigned piece, const Places &places, Value at) const;

  Value batch, head, firstRow, rowsHere, keyEnd;

private:
  Value endOfKeys() const;
  Value keysBelow(Value position) const;
  Value rankOf(unsigned piece, Value position) const;
  Value segmentBound(StringRef name, Value position) const;
  Value table(ArrayRef<int64_t> values) const;
  void readPiece(const pattern::Piece &piece, size_t keyless);

  ImplicitLocOpBuilder &b;
  Arith a;
  Operation *module;
  const AttentionShape &shape;
  const KernelArguments &arguments;
  std::function<Value(ArrayRef<int64_t>)> makeTable;
  std::function<Value(StringRef, Value)> readOperand;
  int64_t thePeriod, numClasses;
  Value viewClass, queryResidues;
  Value queryOffset; ///< of the batch that was entered
  Value positionEnd; ///< one past the position of the last key
  /// Key residues of a piece: offsets per class, and the residues.
  struct KeyTable {
    Value begin, residues;
    int64_t uniform = 0; ///< residues per class where all have as many
    bool follow = false; ///< those of a class follow each other
  };
  SmallVector<KeyTable> keyTables;
};

} // namespace mlir::megactx

#endif
