//===- Elementwise.h - rows of elementwise operators ------------*- C++ -*-===//
//
// One row per operator that computes an element from elements at the same
// place. Arithmetic.cpp holds those of numbers and bits, Functions.cpp those of
// floats; Elementwise.cpp lowers them all.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_ELEMENTWISE_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_ELEMENTWISE_H

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace mlir::megactx {

/// What a scalar computation gets: the operands' elements, unsigned ones as
/// signless integers of their bits, and the node for its attributes.
struct Scalar {
  OpBuilder &b;
  Location loc;
  const Node &node;
  ValueRange in;
  /// Whether the first operand's integers are unsigned.
  bool isUnsigned;

  Type type() const { return in.front().getType(); }
  bool isFloat() const { return isa<FloatType>(type()); }
  Value constant(double value) const {
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(type(), value));
  }
  Value integer(int64_t value) const {
    return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type(), value));
  }
  Value zero() const {
    return arith::ConstantOp::create(b, loc, b.getZeroAttr(type()));
  }
  template <typename Op, typename... Args> Value make(Args &&...args) const {
    return Op::create(b, loc, std::forward<Args>(args)...);
  }
  /// The predicates are of floats, signed and unsigned integers.
  Value compare(arith::CmpFPredicate f, arith::CmpIPredicate i,
                arith::CmpIPredicate u) const {
    if (isFloat())
      return make<arith::CmpFOp>(f, in[0], in[1]);
    return make<arith::CmpIOp>(isUnsigned ? u : i, in[0], in[1]);
  }
};

enum class Takes { Numbers, Floats, Integers, Bools, All };
enum class Gives { Same, Bool };

struct Rule {
  StringRef op;
  /// Operands: exactly `count`, or one or more where it is 0 (folded in pairs).
  unsigned count;
  Takes takes;
  Gives gives;
  Value (*build)(const Scalar &);
};

ArrayRef<Rule> arithmeticRules();
ArrayRef<Rule> functionRules();

} // namespace mlir::megactx

#endif
