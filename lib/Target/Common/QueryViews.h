//===- QueryViews.h - the queries that see a block of keys ------*- C++ -*-===//
//
// Owns the transposed walk over a kernel's pieces: where the key rows of a
// class stand, and which queries see them. Bounds of keys ascend with the
// query, so that the queries of a block of keys are an interval too, which is
// searched.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_COMMON_QUERYVIEWS_H
#define MEGACTX_LIB_TARGET_COMMON_QUERYVIEWS_H

#include "KeyViews.h"

namespace mlir::megactx {

class QueryViews {
public:
  /// How an index is searched, as by emitFirstNot.
  using Search = std::function<Value(Value begin, Value end,
                                     function_ref<Value(Value)> holds)>;

  /// Key rows of the pieces' transposed views; `rows` says where rows stand and
  /// what they see.
  QueryViews(ImplicitLocOpBuilder &b, Operation *module,
             const AttentionShape &shape, const KernelArguments &arguments,
             KeyViews &rows, Search firstNot);

  /// Key rows that the same queries see are a class; `keys` are all rows.
  int64_t classes() const { return view.classes.size(); }
  static int64_t classesOf(const AttentionShape &shape);
  static Value mostRowsOfClass(const Arith &a, const AttentionShape &shape,
                               Value keys);

  /// Turns to the key rows of one class and batch, an index below classes().
  /// Sets rowsHere to the number of those that exist.
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

  /// Rows in memory from a number to the one so many later, of keys and of a
  /// piece's queries, where that is the same for all.
  std::optional<int64_t> keyStep(int64_t numbers) const {
    return keyResidues.step(numbers);
  }
  std::optional<int64_t> queryStep(unsigned piece, int64_t numbers) const {
    return queryResidues[piece].step(numbers);
  }

  Value batch, rowsHere;

private:
  /// Residues of positions: offsets per class of keys, and the residues. Null
  /// where there is one class of one residue modulo 1.
  struct Residues {
    int64_t period;
    Value begin, residues;
    int64_t uniform = 1; ///< of each class where all have as many, else 0
    std::optional<int64_t> step(int64_t numbers) const {
      if (uniform != 1)
        return std::nullopt;
      return numbers * period;
    }
  };
  using ResiduesOf =
      const std::vector<int64_t> &(*)(const pattern::Digits::Class &);
  Residues read(const pattern::Digits &view, ResiduesOf residuesOf);
  std::pair<Value, Value> placesOf(const Residues &residues) const;
  Value positionOf(const Residues &residues, Value number) const;
  std::pair<Value, Value> periodsOf(const Residues &residues, Value begin,
                                    Value end) const;
  /// Where the first query stands in its period. Queries are numbered from the
  /// beginning of that on: numbers are about as many as rows, whatever the
  /// offset.
  Value firstInPeriod(const Residues &residues) const;

  ImplicitLocOpBuilder &b;
  Arith a;
  Operation *module;
  const AttentionShape &shape;
  const KernelArguments &arguments;
  KeyViews &rows;
  Search firstNot;
  pattern::Digits
      view; ///< of the first piece, transposed: all have its classes
  Value keyClass, firstNumber;
  Residues keyResidues;
  SmallVector<Residues> queryResidues; ///< of each piece
};

/// Where a position stands among a block's keys, below 2^31: how far behind the
/// first of them or, where keys are at positions of their own, how many are
/// before it. Keys and bounds compare by their places as by their positions.
/// `positionAt`: of the i-th of `count` keys, of which the first is `lowest`.
Value placeInBlock(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                   Value position, Value lowest, Value count,
                   function_ref<Value(Value i)> positionAt);

} // namespace mlir::megactx

#endif
