//===- Element.h - one element of a tensor, symbolically --------*- C++ -*-===//
//
// Owns the values that elements of mask tensors are said to have: integers as
// affine expressions of where the element stands, choices between values by
// conditions, and reads of tensors that only a run knows. Decides nothing; see
// Positions.h for proofs.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_ELEMENT_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_ELEMENT_H

#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <memory>
#include <optional>
#include <vector>

namespace mlir::megactx::raise {

class Element;

/// A Boolean function of a place. Negation stands only over `Zero` and
/// `Runtime`. Immutable, shared by value.
class Condition {
public:
  enum class Kind {
    False,
    True,
    NonNegative, ///< expr() >= 0
    Zero,        ///< expr() == 0
    Runtime,     ///< element() is not zero
    Not,
    And,
    Or
  };

  static Condition constant(bool value);
  static Condition nonNegative(AffineExpr expr);
  static Condition zero(AffineExpr expr);
  static Condition runtime(Element element);
  /// 0 <= index < size.
  static Condition within(AffineExpr index, AffineExpr size) {
    return nonNegative(index) && nonNegative(size - index - 1);
  }
  Condition operator&&(const Condition &other) const;
  Condition operator||(const Condition &other) const;
  Condition operator!() const;

  Kind kind() const { return node->kind; }
  bool isTrue() const { return kind() == Kind::True; }
  bool isFalse() const { return kind() == Kind::False; }
  AffineExpr expr() const { return node->expr; }
  const Element &element() const;
  ArrayRef<Condition> args() const { return node->args; }

  /// A run-time value that is not zero, or one that is zero.
  bool isRuntimeLiteral() const {
    return kind() == Kind::Runtime ||
           (kind() == Kind::Not && args()[0].kind() == Kind::Runtime);
  }
  /// The condition with an expression in place of a variable; no run-time value
  /// takes part.
  Condition replace(AffineExpr variable, AffineExpr with) const;
  /// Whether no run-time value takes part.
  bool isStatic() const;
  void walk(llvm::function_ref<void(const Condition &)> visit) const;
  /// As of elements.
  unsigned size(unsigned limit) const;
  /// The tensors that its run-time values are read from.
  void walkReads(llvm::function_ref<void(Value)> visit) const;
  bool operator==(const Condition &other) const;
  bool operator!=(const Condition &other) const { return !(*this == other); }

private:
  struct Node {
    Kind kind;
    AffineExpr expr;
    std::vector<Condition> args;
    std::shared_ptr<const Element> element;
  };
  static Condition make(Node node);
  static Condition join(Kind kind, const Condition &a, const Condition &b);
  std::shared_ptr<const Node> node;
};

/// What stands at a place of a tensor. Immutable, shared by value.
class Element {
public:
  enum class Kind {
    Integer, ///< expr()
    Real,    ///< real()
    Truth,   ///< 1 where condition() holds, 0 elsewhere
    Choice,  ///< first() where condition() holds, second() elsewhere
    Read     ///< tensor()[indices()], known at run time
  };

  static Element integer(AffineExpr expr);
  static Element real(double value);
  static Element truth(Condition condition);
  static Element choice(Condition condition, Element first, Element second);
  static Element read(Value tensor, ArrayRef<AffineExpr> indices);

  Kind kind() const { return node->kind; }
  AffineExpr expr() const { return node->indices[0]; }
  double real() const { return node->real; }
  const Condition &condition() const { return node->conditions[0]; }
  const Element &first() const { return node->args[0]; }
  const Element &second() const { return node->args[1]; }
  Value tensor() const { return node->tensor; }
  ArrayRef<AffineExpr> indices() const { return node->indices; }

  /// The number that is the same at every place.
  std::optional<double> number() const;
  std::optional<AffineExpr> integer() const;
  /// Where the value is not zero.
  Condition isNonZero() const;

  /// f of the leaves of choices. Nothing where f gives nothing for a leaf.
  std::optional<Element>
  map(llvm::function_ref<std::optional<Element>(const Element &)> f) const;

  /// The number of values and conditions that it is made of, as far as it is at
  /// most `limit`; more where it is more.
  unsigned size(unsigned limit) const;

  /// Whether it depends on the affine dimension.
  bool uses(unsigned variable) const;
  void walkExprs(llvm::function_ref<void(AffineExpr)> visit) const;
  /// The tensors that it is read from at run time.
  void walkReads(llvm::function_ref<void(Value)> visit) const;
  bool operator==(const Element &other) const;

private:
  struct Node {
    Kind kind;
    double real = 0;
    std::vector<AffineExpr> indices;
    std::vector<Condition> conditions;
    std::vector<Element> args;
    Value tensor;
  };
  static Element make(Node node);
  std::shared_ptr<const Node> node;
};

/// An element that is no choice, and where it is the element.
struct Leaf {
  Condition path;
  Element element;
};

SmallVector<Leaf> leavesOf(const Element &element);

/// The factors in which no run-time value, and those in which some take part.
std::pair<Condition, Condition> staticPartOf(const Condition &path);

enum class Arithmetic { Add, Sub, Mul, Div, Mod, Min, Max };
enum class Comparison { Equal, Less, LessOrEqual, Greater, GreaterOrEqual };

/// Of the leaves of choices. `otherwise` stands for what is no Element, such as
/// products of run-time values; without it there is no result then.
std::optional<Element> combine(Arithmetic op, const Element &a,
                               const Element &b,
                               std::optional<Element> otherwise = {});
std::optional<Condition> compare(Comparison op, const Element &a,
                                 const Element &b,
                                 std::optional<Element> otherwise = {});

} // namespace mlir::megactx::raise

#endif
