//===- Arithmetic.cpp - elementwise operators of numbers and bits ---------===//

#include "Elementwise.h"
#include "Reduction.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

/// By the bits of the exponent; by floats where that is one.
static Value integerPower(const Scalar &s, Value base, Value exponent) {
  if (isa<FloatType>(exponent.getType())) {
    Value real = castScalar(s.b, s.loc, base, exponent.getType());
    return castScalar(s.b, s.loc, s.make<math::PowFOp>(real, exponent),
                      s.type());
  }
  Type type = s.type();
  bool isUnsigned = exponent.getType().isUnsignedInteger();
  exponent = castScalar(s.b, s.loc, exponent, type);
  Value zero = s.make<arith::ConstantIndexOp>(0);
  Value bits = s.make<arith::ConstantIndexOp>(type.getIntOrFloatBitWidth());
  Value step = s.make<arith::ConstantIndexOp>(1);
  Value one = s.make<arith::ConstantOp>(s.b.getIntegerAttr(type, 1));
  Value none = s.make<arith::ConstantOp>(s.b.getIntegerAttr(type, 0));
  auto loop = scf::ForOp::create(
      s.b, s.loc, zero, bits, step, ValueRange{one, base, exponent},
      [&](OpBuilder &b, Location l, Value, ValueRange so) {
        Value bit = arith::AndIOp::create(b, l, so[2], one);
        Value isSet =
            arith::CmpIOp::create(b, l, arith::CmpIPredicate::ne, bit, none);
        Value product = arith::MulIOp::create(b, l, so[0], so[1]);
        Value result = arith::SelectOp::create(b, l, isSet, product, so[0]);
        Value square = arith::MulIOp::create(b, l, so[1], so[1]);
        Value rest = arith::ShRUIOp::create(b, l, so[2], one);
        scf::YieldOp::create(b, l, ValueRange{result, square, rest});
      });
  if (isUnsigned || type.isUnsignedInteger())
    return loop.getResult(0);
  // Parts of one are 0; the powers of 1 and -1 are right as they are.
  auto is = [&](arith::CmpIPredicate predicate, Value x, int64_t number) {
    return s.make<arith::CmpIOp>(
        predicate, x,
        s.make<arith::ConstantOp>(s.b.getIntegerAttr(type, number)));
  };
  Value isPart = s.make<arith::AndIOp>(
      is(arith::CmpIPredicate::slt, exponent, 0),
      s.make<arith::AndIOp>(is(arith::CmpIPredicate::ne, base, 1),
                            is(arith::CmpIPredicate::ne, base, -1)));
  return s.make<arith::SelectOp>(isPart, none, loop.getResult(0));
}

static Value power(const Scalar &s) {
  Value base = s.in[0], exponent = s.in[1];
  exponent = bitsAs(s.b, s.loc, exponent, s.node.in(1).elementType);
  if (!s.isFloat())
    return integerPower(s, base, exponent);
  FloatAttr constant;
  if (auto op = exponent.getDefiningOp<arith::ConstantOp>()) {
    if (auto number = dyn_cast<FloatAttr>(op.getValue()))
      constant = number;
    else if (auto integer = dyn_cast<IntegerAttr>(op.getValue()))
      constant = s.b.getF64FloatAttr(integer.getValue().getSExtValue());
  }
  if (constant && constant.getValueAsDouble() == 2.0)
    return s.make<arith::MulFOp>(base, base);
  if (constant && constant.getValueAsDouble() == 3.0)
    return s.make<arith::MulFOp>(s.make<arith::MulFOp>(base, base), base);
  if (constant && constant.getValueAsDouble() == 0.5)
    return s.make<math::SqrtOp>(base);
  return s.make<math::PowFOp>(base, castScalar(s.b, s.loc, exponent, s.type()));
}

/// The divisor, or 1 for what processors trap at: 0 and, where the least
/// integer has no opposite, -1.
static Value safeDivisor(const Scalar &s) {
  Value unsafe =
      s.make<arith::CmpIOp>(arith::CmpIPredicate::eq, s.in[1], s.zero());
  if (!s.isUnsigned) {
    Value isMinusOne =
        s.make<arith::CmpIOp>(arith::CmpIPredicate::eq, s.in[1], s.integer(-1));
    unsafe = s.make<arith::OrIOp>(unsafe, isMinusOne);
  }
  return s.make<arith::SelectOp>(unsafe, s.integer(1), s.in[1]);
}

/// Integers round towards zero; what is divided by 0 gives 0.
static Value quotient(const Scalar &s) {
  if (s.isFloat())
    return s.make<arith::DivFOp>(s.in[0], s.in[1]);
  Value divisor = safeDivisor(s);
  Value result = s.isUnsigned ? s.make<arith::DivUIOp>(s.in[0], divisor)
                              : s.make<arith::DivSIOp>(s.in[0], divisor);
  if (!s.isUnsigned) {
    Value isMinusOne =
        s.make<arith::CmpIOp>(arith::CmpIPredicate::eq, s.in[1], s.integer(-1));
    Value opposite = s.make<arith::SubIOp>(s.zero(), s.in[0]);
    result = s.make<arith::SelectOp>(isMinusOne, opposite, result);
  }
  Value isZero =
      s.make<arith::CmpIOp>(arith::CmpIPredicate::eq, s.in[1], s.zero());
  return s.make<arith::SelectOp>(isZero, s.zero(), result);
}

/// The remainder of floats, with the divisor's sign unless `fmod` is set.
static Value realModulo(const Scalar &s) {
  Value remainder = s.make<arith::RemFOp>(s.in[0], s.in[1]);
  if (s.node.integer("fmod", 0))
    return remainder;
  auto compare = [&](arith::CmpFPredicate kind, Value x) -> Value {
    return s.make<arith::CmpFOp>(kind, x, s.zero());
  };
  Value differs =
      s.make<arith::XOrIOp>(compare(arith::CmpFPredicate::OLT, remainder),
                            compare(arith::CmpFPredicate::OLT, s.in[1]));
  Value sum = s.make<arith::AddFOp>(remainder, s.in[1]);
  Value moved = s.make<arith::SelectOp>(differs, sum, remainder);
  Value zero = s.make<math::CopySignOp>(s.zero(), s.in[1]);
  return s.make<arith::SelectOp>(compare(arith::CmpFPredicate::OEQ, remainder),
                                 zero, moved);
}

static Value modulo(const Scalar &s) {
  if (s.isFloat())
    return realModulo(s);
  Value divisor = safeDivisor(s);
  if (s.isUnsigned)
    return s.make<arith::RemUIOp>(s.in[0], divisor);
  Value remainder = s.make<arith::RemSIOp>(s.in[0], divisor);
  if (s.node.integer("fmod", 0))
    return remainder;
  // The result takes the divisor's sign.
  Value sign = s.make<arith::XOrIOp>(remainder, s.in[1]);
  Value differs =
      s.make<arith::CmpIOp>(arith::CmpIPredicate::slt, sign, s.zero());
  Value isNonZero =
      s.make<arith::CmpIOp>(arith::CmpIPredicate::ne, remainder, s.zero());
  Value adjust = s.make<arith::AndIOp>(differs, isNonZero);
  Value sum = s.make<arith::AddIOp>(remainder, s.in[1]);
  return s.make<arith::SelectOp>(adjust, sum, remainder);
}

static Value absolute(const Scalar &s) {
  if (s.isFloat())
    return s.make<math::AbsFOp>(s.in[0]);
  return s.isUnsigned ? s.in[0] : s.make<math::AbsIOp>(s.in[0]);
}

/// -1, 0 or 1; NaN stays.
static Value sign(const Scalar &s) {
  if (!s.isFloat()) {
    Value one = s.integer(1);
    if (s.isUnsigned)
      return s.make<arith::MinUIOp>(s.in[0], one);
    Value least = s.make<arith::MinSIOp>(s.in[0], one);
    return s.make<arith::MaxSIOp>(least, s.integer(-1));
  }
  Value unit = s.make<math::CopySignOp>(s.constant(1.0), s.in[0]);
  Value hasSign =
      s.make<arith::CmpFOp>(arith::CmpFPredicate::ONE, s.in[0], s.zero());
  return s.make<arith::SelectOp>(hasSign, unit, s.in[0]);
}

/// Shifts by the width or more leave copies of what moves in: zeros, or to the
/// right the sign.
static Value bitShift(const Scalar &s) {
  bool isLeft = s.node.string("direction", "") == "LEFT";
  int64_t width = s.type().getIntOrFloatBitWidth();
  Value isInside = s.make<arith::CmpIOp>(arith::CmpIPredicate::ult, s.in[1],
                                         s.integer(width));
  if (!isLeft && !s.isUnsigned) {
    Value amount =
        s.make<arith::SelectOp>(isInside, s.in[1], s.integer(width - 1));
    return s.make<arith::ShRSIOp>(s.in[0], amount);
  }
  Value amount = s.make<arith::SelectOp>(isInside, s.in[1], s.zero());
  Value shifted = isLeft ? s.make<arith::ShLIOp>(s.in[0], amount)
                         : s.make<arith::ShRUIOp>(s.in[0], amount);
  return s.make<arith::SelectOp>(isInside, shifted, s.zero());
}

template <Reduce kind> static Value combined(const Scalar &s) {
  return combine(s.b, s.loc, s.in[0], s.in[1], s.isUnsigned, kind);
}

using F = arith::CmpFPredicate;
using I = arith::CmpIPredicate;

static const Rule rules[] = {
    {"Add", 2, Takes::Numbers, Gives::Same, combined<Reduce::Sum>},
    {"Sub", 2, Takes::Numbers, Gives::Same,
     [](const Scalar &s) {
       return s.isFloat() ? s.make<arith::SubFOp>(s.in[0], s.in[1])
                          : s.make<arith::SubIOp>(s.in[0], s.in[1]);
     }},
    {"Mul", 2, Takes::Numbers, Gives::Same, combined<Reduce::Prod>},
    {"Div", 2, Takes::Numbers, Gives::Same, quotient},
    {"Sum", 0, Takes::Numbers, Gives::Same, combined<Reduce::Sum>},
    {"Max", 0, Takes::Numbers, Gives::Same, combined<Reduce::Max>},
    {"Min", 0, Takes::Numbers, Gives::Same, combined<Reduce::Min>},
    {"Pow", 2, Takes::Numbers, Gives::Same, power},
    {"Mod", 2, Takes::Numbers, Gives::Same, modulo},
    {"Abs", 1, Takes::Numbers, Gives::Same, absolute},
    {"Sign", 1, Takes::Numbers, Gives::Same, sign},
    {"Neg", 1, Takes::Numbers, Gives::Same,
     [](const Scalar &s) {
       return s.isFloat() ? s.make<arith::NegFOp>(s.in[0])
                          : s.make<arith::SubIOp>(s.zero(), s.in[0]);
     }},
    {"Relu", 1, Takes::Numbers, Gives::Same,
     [](const Scalar &s) {
       return s.isFloat() ? s.make<arith::MaximumFOp>(s.in[0], s.zero())
                          : s.make<arith::MaxSIOp>(s.in[0], s.zero());
     }},
    {"And", 2, Takes::Bools, Gives::Bool,
     [](const Scalar &s) { return s.make<arith::AndIOp>(s.in[0], s.in[1]); }},
    {"Or", 2, Takes::Bools, Gives::Bool,
     [](const Scalar &s) { return s.make<arith::OrIOp>(s.in[0], s.in[1]); }},
    {"Xor", 2, Takes::Bools, Gives::Bool,
     [](const Scalar &s) { return s.make<arith::XOrIOp>(s.in[0], s.in[1]); }},
    {"Not", 1, Takes::Bools, Gives::Bool,
     [](const Scalar &s) {
       return s.make<arith::XOrIOp>(s.in[0], s.integer(1));
     }},
    {"BitwiseAnd", 2, Takes::Integers, Gives::Same,
     [](const Scalar &s) { return s.make<arith::AndIOp>(s.in[0], s.in[1]); }},
    {"BitwiseOr", 2, Takes::Integers, Gives::Same,
     [](const Scalar &s) { return s.make<arith::OrIOp>(s.in[0], s.in[1]); }},
    {"BitwiseXor", 2, Takes::Integers, Gives::Same,
     [](const Scalar &s) { return s.make<arith::XOrIOp>(s.in[0], s.in[1]); }},
    {"BitwiseNot", 1, Takes::Integers, Gives::Same,
     [](const Scalar &s) {
       return s.make<arith::XOrIOp>(s.in[0], s.integer(-1));
     }},
    {"BitShift", 2, Takes::Integers, Gives::Same, bitShift},
    {"Equal", 2, Takes::All, Gives::Bool,
     [](const Scalar &s) { return s.compare(F::OEQ, I::eq, I::eq); }},
    {"Less", 2, Takes::Numbers, Gives::Bool,
     [](const Scalar &s) { return s.compare(F::OLT, I::slt, I::ult); }},
    {"LessOrEqual", 2, Takes::Numbers, Gives::Bool,
     [](const Scalar &s) { return s.compare(F::OLE, I::sle, I::ule); }},
    {"Greater", 2, Takes::Numbers, Gives::Bool,
     [](const Scalar &s) { return s.compare(F::OGT, I::sgt, I::ugt); }},
    {"GreaterOrEqual", 2, Takes::Numbers, Gives::Bool,
     [](const Scalar &s) { return s.compare(F::OGE, I::sge, I::uge); }},
};

ArrayRef<Rule> mlir::megactx::arithmeticRules() { return rules; }
