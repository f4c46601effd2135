//===- Piece.h - disjoint pieces of a pattern -------------------*- C++ -*-===//
//
// Owns what lowerings see of a pattern: pieces. A piece is an interval of keys
// per query row, a view that groups rows and keys by residue, and a rest that
// is tested per element. Pieces of one pattern are disjoint and their union is
// the relation.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_PIECE_H
#define MEGACTX_PATTERN_PIECE_H

#include "megactx/Pattern/Pattern.h"

namespace mlir::megactx::pattern {

/// The largest period that residues are tabulated for; above, residues are
/// tested per element.
constexpr int64_t kMaxPeriod = 4096;
/// More pieces than this are an error, not a kernel.
constexpr size_t kMaxPieces = 1024;

/// Residues of positions modulo a period. A class holds query residues whose
/// rows see the same key residues; residues that see no key are in no class.
struct Digits {
  struct Class {
    std::vector<int64_t> queries; ///< sorted, in [0, period)
    std::vector<int64_t> keys;    ///< sorted, in [0, period), not empty
    bool operator==(const Class &o) const {
      return queries == o.queries && keys == o.keys;
    }
  };
  int64_t period = 1;
  std::vector<Class> classes = {{{0}, {0}}};

  /// Every row sees every residue.
  bool isIdentity() const { return period == 1; }
  /// How many query residues are in a class.
  int64_t rowResidues() const {
    int64_t count = 0;
    for (const Class &c : classes)
      count += c.queries.size();
    return count;
  }
  /// Every row is in a class.
  bool hasAllRows() const { return rowResidues() == period; }
  /// All rows see the same residues: the query view is the identity.
  bool hasOneView() const { return classes.size() == 1 && hasAllRows(); }
  /// In the view of keys, as many from each multiple on follow each other: the
  /// residues of each class, where these do and are as many in all; else 1.
  /// Says nothing of the identity.
  int64_t keyRun() const;
  /// The residues as a condition on p and k, for lowerings without views; null
  /// for the identity. Tables hold an entry per pair of class and residue.
  Expr condition() const;
  /// Queries and keys exchanged: a class's `queries` are key residues that the
  /// same query residues, its `keys`, see.
  Digits transposed() const;
  bool operator==(const Digits &o) const {
    return period == o.period && classes == o.classes;
  }
};

/// The number of positions below x (and at least 0) with one of the sorted
/// residues: where x stands in the view of keys.
int64_t rank(int64_t period, llvm::ArrayRef<int64_t> residues, int64_t x);
/// The position with this rank: the inverse of `rank`.
int64_t unrank(int64_t period, llvm::ArrayRef<int64_t> residues, int64_t rank);

/// Row p of head h sees the keys k with max(lo) <= k < min(hi) (an empty list
/// is open), residues as `digits` allows, for which `test` holds.
struct Piece {
  static constexpr int64_t kOpen = INT64_MAX;

  Expr heads;                ///< 0/1 over h; null: every head
  int64_t rowBegin = -kOpen; ///< query positions [rowBegin, rowEnd)
  int64_t rowEnd = kOpen;
  std::vector<Expr> lo, hi; ///< of p and symbols; non-decreasing in p
  Digits digits;
  Expr test; ///< 0/1; null: always true

  /// Whether the relation of the piece holds; the reference of tests.
  bool holds(const Point &point) const;

  /// All of it as one condition on p, k, h and symbols, 0 or 1.
  Expr condition() const;

  /// heads<E>, rows<a, b>, lo<E, ...>, hi<E, ...>, digits<m, [q]: [k], ...>,
  /// test<E>, each left out where it says nothing; `all` where nothing is left.
  std::string str() const;
  static std::optional<Piece> parse(llvm::StringRef text,
                                    Pattern::OnError onError);

  bool operator==(const Piece &other) const;
  bool operator!=(const Piece &other) const { return !(*this == other); }
  friend llvm::hash_code hash_value(const Piece &piece) {
    return llvm::hash_value(llvm::StringRef(piece.str()));
  }
};

/// Blocks of positions, from multiples of their sizes on, for all pairs of
/// which a piece's test is the same.
struct TestBlock {
  int64_t queries, keys; ///< positions
};
/// Nothing where the piece has no such test, has one beside a view, or where
/// its blocks are so small that to ask once is as much work as the tests are.
std::optional<TestBlock> blocksOfTest(const Piece &piece);

/// The pieces of a formula, or an error text where there would be more than
/// kMaxPieces. Where the number of heads is known, those of heads beyond it are
/// left out, and what is the same for all heads has no condition.
std::optional<std::vector<Piece>>
expand(const Formula &formula, std::string &error,
       std::optional<int64_t> heads = std::nullopt);

} // namespace mlir::megactx::pattern

#endif
