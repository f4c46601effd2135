//===- TokenRows.h - which tokens rows are of -------------------*- C++ -*-===//
//
// Owns which rows of one tensor the queries and keys of an attention are
// computed of: a row is followed back through the nodes that move it, and
// through those that compute each row of one other. Rows that are chosen by
// data, or are mixtures of others, are followed no further.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_TOKENROWS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_TOKENROWS_H

#include "ElementValues.h"

namespace mlir::megactx::raise {

/// What has to show that rows are of one token: nothing, where an operator or a
/// mask says so; a tensor that both are made of, or inputs of as many rows; or
/// such a tensor alone.
enum class Evidence { None, Inputs, Common };

class TokenRows {
public:
  TokenRows(Positions &positions, ElementValues &values)
      : positions(positions), values(values) {}

  /// Why nothing says that row i of the queries [B, H, Nq, D] is of the token
  /// that row i + ahead of the keys [B, H, Nk, D] is of, and that these are in
  /// their sequence's order; empty where that is known, and where no evidence
  /// is needed and nothing says otherwise.
  std::string whyApart(Value query, Value key, AffineExpr ahead,
                       Evidence evidence);

private:
  /// A row that another one is computed of, by its first channel: which one it
  /// is says nothing of rows.
  struct Row {
    Value tensor;
    Place place;
    /// What was joined to its tensor, in front of it, on the way, with the
    /// place that the row would have there; none for what is learned or padded.
    SmallVector<std::pair<Value, Place>, 1> before;
    /// So many rows behind it may be the one instead, of a window that moves by
    /// one.
    int64_t reach = 0;
    unsigned parent = 0;
    bool isEnd = false;

    /// What it is computed of.
    Row of(Value from, Place at) const { return {from, at, before, reach}; }
  };
  using Rows = std::vector<Row>;

  /// So many at most; as far as rows have an axis of their own, where only
  /// their order is asked for.
  Rows follow(Value tensor, Place place, size_t most, bool isInOrder = false);
  Rows followPart(Value part, Place place, unsigned axis);
  SmallVector<Row> behind(const Row &row);
  SmallVector<Row> joined(const Row &row);
  std::optional<Row> windowed(const Row &row);
  std::optional<Row> moved(const Row &row);
  std::optional<Row> lookedUp(const Row &row);
  void addKept(const Row &row, SmallVectorImpl<Row> &next);
  bool isSameRow(const Row &row, const Row &other);
  bool ascends(ArrayRef<AffineExpr> from, ArrayRef<AffineExpr> to);
  std::string whyApart(const Rows &queries, const Rows &keys);
  std::string whyApartInInputs(const Rows &queries, const Rows &keys);
  std::optional<std::string> whyJoinedApart(const Row &query, const Row &key);
  bool areMadeAlike(const Row &query, const Row &key);
  std::string whyBefore(const Row &key);
  std::string whyUnordered(const Row &row);
  std::string whyUnordered(const Rows &rows, unsigned depth);
  std::string whyReordered(const Row &row, unsigned depth);
  std::string whyJoinedUnordered(const Row &row, unsigned depth);
  std::optional<unsigned> axisOf(ArrayRef<AffineExpr> place) const;

  Positions &positions;
  ElementValues &values;
  Evidence needed = Evidence::Inputs;
};

} // namespace mlir::megactx::raise

#endif
