//===- Residues.h - relations of residues, tabulated ------------*- C++ -*-===//
//
// Owns which relations of (p mod m, k mod m) can hold together.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_RESIDUES_H
#define MEGACTX_LIB_PATTERN_RESIDUES_H

#include "megactx/Pattern/Piece.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SmallVector.h"

namespace mlir::megactx::pattern {

/// Relations with a common period of at most kMaxPeriod form a group. A class
/// of a group is the pairs of residues that the same relations hold for.
/// Groups are taken to be independent of each other, which is right for a
/// proof: it only adds cases that may not exist.
class Residues {
public:
  struct Class {
    llvm::BitVector holds; ///< by a relation's place in the group
    std::vector<std::pair<int64_t, int64_t>> pairs; ///< some: (p, k) mod m
    bool hasAllPairs = true;
  };
  struct Group {
    int64_t period = 1;
    std::vector<unsigned> relations;
    std::vector<Class> classes;
  };
  /// For each group the classes that are not ruled out.
  using State = llvm::SmallVector<llvm::SmallVector<unsigned, 4>, 2>;

  /// The relation `expr` of (p mod period, k mod period), once. Periods are at
  /// most kMaxPeriod.
  void add(int64_t period, const Expr &expr);
  unsigned add(const Digits &digits);
  /// Makes the groups. False where the tables would be too large.
  bool tabulate();

  /// The relation that is this expression, if it was added.
  std::optional<unsigned> find(const Expr &expr) const;
  llvm::ArrayRef<Group> groups() const { return allGroups; }
  State everything() const;
  std::optional<bool> holds(unsigned relation, const State &state) const;
  State assume(unsigned relation, bool value, State state) const;

private:
  struct Relation {
    int64_t period;
    Expr expr;               ///< or, where null,
    Digits digits;           ///< residues as a piece has them
    std::vector<char> table; ///< by p * period + k
    unsigned group = 0, place = 0;
  };
  static void fill(Relation &relation);
  void split(Group &group);

  std::vector<Relation> relations;
  std::vector<Group> allGroups;
};

} // namespace mlir::megactx::pattern

#endif
