//===- Expr.h - integer expressions over positions --------------*- C++ -*-===//
//
// Owns the one expression language of the pattern algebra: cuts, residue
// relations and per-element tests are all `Expr`s, so a lowering needs one
// emitter and never learns which pattern an expression came from.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_EXPR_H
#define MEGACTX_PATTERN_EXPR_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mlir::megactx::pattern {

/// An immutable integer expression, shared by value. A null Expr stands for
/// "no condition". Truth values are 0 and 1.
///
/// The leaves are constants, the query position `p`, the key position `k`, the
/// head `h`, the batch `b`, run-time symbols by name, and values that a source
/// holds per row (`Operand`, e.g. segment ids).
class Expr {
public:
  enum class Kind {
    Constant,
    Position, ///< p, tokens
    Key,      ///< k, tokens
    Head,
    Batch,
    Symbol,  ///< a run-time value by name: `nk` is one past the last key
             ///< position
    Operand, ///< name(row): a per-row operand read at position `args[0]`
    Add,
    Mul,      ///< args[0] * value
    FloorDiv, ///< floor(args[0] / value), value > 0
    Mod,      ///< args[0] - value * floor(args[0] / value), value > 0
    ModExpr,  ///< args[0] mod max(args[1], 1)
    DivExpr,  ///< floor(args[0] / max(args[1], 1))
    MulExpr,  ///< args[0] * args[1]
    Min,
    Max,
    Equal,
    Less,
    And,
    Or,
    Not,
    Hash,  ///< hash(value, args[0], args[1]): see `hashPair`
    Table, ///< table[args[0]]; 0 outside of the table
    In     ///< args[0] is one of the sorted values in `table`
  };

  struct Node {
    Kind kind;
    int64_t value = 0;
    std::string name;
    std::vector<int64_t> table;
    std::vector<Expr> args;
    llvm::hash_code hash;
    uint32_t kinds = 0; ///< a bit for each kind of node in the expression
  };

  Expr() = default;
  explicit operator bool() const { return node != nullptr; }

  static Expr constant(int64_t value);
  static Expr position();
  static Expr key();
  static Expr head();
  static Expr batch();
  static Expr symbol(llvm::StringRef name);
  static Expr operand(llvm::StringRef name, Expr row);
  static Expr hash(int64_t seed, Expr a, Expr b);
  static Expr table(std::vector<int64_t> values, Expr index);
  static Expr in(Expr value, std::vector<int64_t> sorted);

  Expr operator+(const Expr &other) const;
  Expr operator-(const Expr &other) const;
  Expr operator*(int64_t factor) const;
  Expr operator*(const Expr &factor) const;
  Expr floorDiv(int64_t divisor) const;
  Expr floorDiv(const Expr &divisor) const;
  Expr mod(int64_t divisor) const;
  Expr mod(const Expr &divisor) const;
  Expr operator+(int64_t value) const { return *this + constant(value); }
  Expr operator-(int64_t value) const { return *this + constant(-value); }
  static Expr min(const Expr &a, const Expr &b);
  static Expr max(const Expr &a, const Expr &b);
  Expr equals(const Expr &other) const;
  Expr less(const Expr &other) const;
  Expr operator&&(const Expr &other) const;
  Expr operator||(const Expr &other) const;
  /// The opposite truth value. Not `!`: that asks whether there is an Expr.
  Expr negated() const;

  Kind kind() const { return node->kind; }
  int64_t value() const { return node->value; }
  llvm::StringRef name() const { return node->name; }
  llvm::ArrayRef<int64_t> table() const { return node->table; }
  llvm::ArrayRef<Expr> args() const { return node->args; }
  bool isConstant() const { return node && node->kind == Kind::Constant; }
  bool isConstant(int64_t value) const {
    return isConstant() && node->value == value;
  }

  /// True if some node of the expression is of this kind.
  bool uses(Kind kind) const {
    return node && (node->kinds >> static_cast<int>(kind) & 1);
  }

  /// The expression with every sub-expression for which `replace` gives
  /// something replaced by it, constants folded.
  Expr substitute(llvm::function_ref<Expr(const Expr &)> replace) const;

  bool operator==(const Expr &other) const;
  bool operator!=(const Expr &other) const { return !(*this == other); }

  void print(llvm::raw_ostream &os) const;
  std::string str() const;

  friend llvm::hash_code hash_value(const Expr &expr) {
    return expr.node ? expr.node->hash : llvm::hash_code(0);
  }

private:
  static Expr make(Kind kind, int64_t value, std::vector<Expr> args,
                   llvm::StringRef name = "", std::vector<int64_t> table = {});
  std::shared_ptr<const Node> node;
};

/// What the leaves of an Expr stand for at one element.
struct Point {
  int64_t p = 0, k = 0, h = 0, b = 0;
  /// Value of a run-time symbol.
  llvm::function_ref<int64_t(llvm::StringRef)> symbol = nullptr;
  /// Value of a per-row operand at a position.
  llvm::function_ref<int64_t(llvm::StringRef, int64_t)> operand = nullptr;
};

/// So many values of a leaf, `Position` or `Key`, follow each other from each
/// multiple of this on for which the expression is the same, whatever the other
/// leaves are, as far as its divisions show it. Of one that does not depend on
/// the leaf, kWhole.
constexpr int64_t kWhole = int64_t(1) << 40;
int64_t blockOf(const Expr &expr, Expr::Kind leaf);

/// Evaluates with mathematical floor division. Symbols without a value are 0.
int64_t evaluate(const Expr &expr, const Point &point);

/// What an operator (any kind but leaves) makes of the values of its operands;
/// `b` is ignored where there is only one.
int64_t applyOperator(Expr::Kind kind, int64_t value,
                      llvm::ArrayRef<int64_t> table, int64_t a, int64_t b);

/// The documented hash of `random`: 32-bit arithmetic, the same on every
/// target. x = seed ^ (a * 0x9E3779B1) ^ (b * 0x85EBCA77), then the murmur3
/// finalizer (shifts 16, 13, 16; factors 0x85EBCA6B, 0xC2B2AE35). The result
/// is in [0, 2^31).
uint32_t hashPair(uint32_t seed, uint32_t a, uint32_t b);

/// Floor division and non-negative remainder by a positive divisor.
inline int64_t floorDivide(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && a < 0);
}
inline int64_t floorMod(int64_t a, int64_t b) {
  return a - b * floorDivide(a, b);
}

} // namespace mlir::megactx::pattern

#endif
