//===- Scalars.cpp - contents of constants, casts and order of scalars ----===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace mlir::megactx;

std::optional<SmallVector<int64_t>> mlir::megactx::integersOf(ElementsAttr attr,
                                                              int64_t limit) {
  auto type = dyn_cast<IntegerType>(attr.getElementType());
  if (!type || attr.getNumElements() > limit)
    return std::nullopt;
  SmallVector<int64_t> values;
  if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
    bool isUnsigned = type.isUnsigned() || type.getWidth() == 1;
    for (const APInt &value : dense.getValues<APInt>())
      values.push_back(isUnsigned ? value.getZExtValue()
                                  : value.getSExtValue());
    // What an expression cannot say.
    if (type.isUnsigned() &&
        llvm::any_of(values, [](int64_t v) { return v < 0; }))
      return std::nullopt;
    return values;
  }
  if (auto dense = dyn_cast<DenseI64ResourceElementsAttr>(attr))
    if (auto array = dense.tryGetAsArrayRef())
      return SmallVector<int64_t>(*array);
  if (auto dense = dyn_cast<DenseI32ResourceElementsAttr>(attr))
    if (auto array = dense.tryGetAsArrayRef())
      return SmallVector<int64_t>(array->begin(), array->end());
  return std::nullopt;
}

TypedAttr mlir::megactx::scalarOf(ElementsAttr attr) {
  if (auto dense = dyn_cast<DenseElementsAttr>(attr))
    if (dense.isSplat() || dense.getNumElements() == 1)
      return cast<TypedAttr>(*dense.getValues<Attribute>().begin());
  if (attr.getNumElements() != 1)
    return {};
  Builder b(attr.getContext());
  if (auto dense = dyn_cast<DenseF32ResourceElementsAttr>(attr))
    if (auto array = dense.tryGetAsArrayRef())
      return b.getF32FloatAttr(array->front());
  if (auto values = integersOf(attr, 1))
    return b.getIntegerAttr(attr.getElementType(), values->front());
  return {};
}

Type mlir::megactx::accumulatorType(Type type) {
  if (type.isF16() || type.isBF16())
    return Float32Type::get(type.getContext());
  return type;
}

Type mlir::megactx::signlessOf(Type type) {
  return type.isUnsignedInteger()
             ? IntegerType::get(type.getContext(), type.getIntOrFloatBitWidth())
             : type;
}

Value mlir::megactx::bitsAs(OpBuilder &b, Location loc, Value value,
                            Type type) {
  if (value.getType() == type)
    return value;
  return UnrealizedConversionCastOp::create(b, loc, type, value).getResult(0);
}

Value mlir::megactx::constantOf(OpBuilder &b, Location loc, TypedAttr value) {
  Type type = value.getType();
  if (auto integer = dyn_cast<IntegerAttr>(value))
    value = b.getIntegerAttr(signlessOf(type), integer.getValue());
  return bitsAs(b, loc, arith::ConstantOp::create(b, loc, value), type);
}

bool mlir::megactx::isFloat(Type type) {
  return type.isF16() || type.isBF16() || type.isF32() || type.isF64();
}

bool mlir::megactx::isNumber(Type type) {
  return isFloat(type) || type.isSignlessInteger() || type.isUnsignedInteger();
}

bool mlir::megactx::holdsExpressions(Type type) {
  return type.isSignlessInteger() &&
         (type.isInteger(1) || type.getIntOrFloatBitWidth() >= 32);
}

Value mlir::megactx::indexOf(OpBuilder &b, Location loc, Value integer) {
  Type type = integer.getType();
  Value bits = bitsAs(b, loc, integer, signlessOf(type));
  if (type.isUnsignedInteger() || type.isInteger(1))
    return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), bits);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), bits);
}

Value mlir::megactx::doublingsTo(OpBuilder &b, Location loc, Value size) {
  // As often as the last number below it has bits.
  Type i64 = b.getI64Type();
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  Value last = arith::MaxSIOp::create(
      b, loc, arith::SubIOp::create(b, loc, size, one), zero);
  Value zeros = math::CountLeadingZerosOp::create(
      b, loc, arith::IndexCastOp::create(b, loc, i64, last));
  Value bits = arith::SubIOp::create(
      b, loc, arith::ConstantIntOp::create(b, loc, i64, 64), zeros);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), bits);
}

Value mlir::megactx::numberOf(OpBuilder &b, Location loc, Value index,
                              Type type) {
  Value integer = arith::IndexCastOp::create(b, loc, b.getI64Type(), index);
  return castScalar(b, loc, integer, type);
}

/// x between numbers that its type holds; a NaN is the first.
static Value between(OpBuilder &b, Location loc, Value x, double least,
                     double most) {
  auto type = cast<FloatType>(x.getType());
  auto limit = [&](double number, arith::CmpFPredicate predicate) {
    // Toward zero: 2^63 - 1 has no float, and 2^63 no integer.
    APFloat bound(number);
    bool losesInfo;
    bound.convert(type.getFloatSemantics(), APFloat::rmTowardZero, &losesInfo);
    Value to = arith::ConstantOp::create(b, loc, b.getFloatAttr(type, bound));
    Value isIn = arith::CmpFOp::create(b, loc, predicate, x, to);
    x = arith::SelectOp::create(b, loc, isIn, x, to);
  };
  limit(least, arith::CmpFPredicate::OGT);
  limit(most, arith::CmpFPredicate::OLT);
  return x;
}

/// Numbers beyond an integer of 32 or 64 bits are its ends, a NaN is 0;
/// narrower types and unsigned ones of 32 bits hold the low bits of that. ONNX
/// leaves all these to who implements it; what an instruction gives depends on
/// the processor, and what a constant folds to is no value at all.
static Value truncated(OpBuilder &b, Location loc, Value x, IntegerType to,
                       bool toUnsigned) {
  if (cast<FloatType>(x.getType()).getWidth() < 32)
    x = arith::ExtFOp::create(b, loc, b.getF32Type(), x);
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(x.getType()));
  Value isNumber =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::ORD, x, x);
  x = arith::SelectOp::create(b, loc, isNumber, x, zero);
  // The largest double below 2^63, and below 2^64.
  constexpr double kMost = 0x1.fffffffffffffp62;
  unsigned width = to.getWidth() + (toUnsigned ? 1 : 0);
  Type wide = width <= 32 ? b.getI32Type() : b.getI64Type();
  Value result = arith::FPToSIOp::create(
      b, loc, wide,
      between(b, loc, x, width <= 32 ? -0x1p31 : -0x1p63,
              width <= 32 ? 0x1p31 - 1 : kMost));
  if (width > 64) {
    Value large =
        arith::FPToUIOp::create(b, loc, wide, between(b, loc, x, 0, 2 * kMost));
    Value isNegative =
        arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x, zero);
    result = arith::SelectOp::create(b, loc, isNegative, result, large);
  }
  return wide == to ? result
                    : arith::TruncIOp::create(b, loc, to, result).getResult();
}

/// Between types without a sign; the flags say what they stand for.
static Value castSignless(OpBuilder &b, Location loc, Value value,
                          bool fromUnsigned, Type to, bool toUnsigned) {
  Type from = value.getType();
  if (from == to)
    return value;
  auto fromInt = dyn_cast<IntegerType>(from), toInt = dyn_cast<IntegerType>(to);
  auto fromFloat = dyn_cast<FloatType>(from), toFloat = dyn_cast<FloatType>(to);
  if (toInt && toInt.getWidth() == 1) {
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(from));
    if (fromInt)
      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, value,
                                   zero);
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNE, value,
                                 zero);
  }
  if (fromInt && toInt) {
    if (fromInt.getWidth() > toInt.getWidth())
      return arith::TruncIOp::create(b, loc, to, value);
    if (fromUnsigned)
      return arith::ExtUIOp::create(b, loc, to, value);
    return arith::ExtSIOp::create(b, loc, to, value);
  }
  if (fromInt && toFloat) {
    if (fromUnsigned)
      return arith::UIToFPOp::create(b, loc, to, value);
    return arith::SIToFPOp::create(b, loc, to, value);
  }
  if (fromFloat && toInt)
    return truncated(b, loc, value, toInt, toUnsigned);
  if (!fromFloat || !toFloat)
    return {};
  if (fromFloat.getWidth() < toFloat.getWidth())
    return arith::ExtFOp::create(b, loc, to, value);
  if (fromFloat.getWidth() > toFloat.getWidth())
    return arith::TruncFOp::create(b, loc, to, value);
  Value wide = arith::ExtFOp::create(b, loc, b.getF32Type(), value);
  return arith::TruncFOp::create(b, loc, to, wide);
}

Value mlir::megactx::castScalar(OpBuilder &b, Location loc, Value value,
                                Type to) {
  Type from = value.getType();
  if (from == to)
    return value;
  Value result = castSignless(b, loc, bitsAs(b, loc, value, signlessOf(from)),
                              from.isUnsignedInteger() || from.isInteger(1),
                              signlessOf(to), to.isUnsignedInteger());
  return result ? bitsAs(b, loc, result, to) : Value();
}

Value mlir::megactx::comesBefore(OpBuilder &b, Location loc, Value x, Value y,
                                 Type type, bool isLarger) {
  if (isa<FloatType>(type))
    return arith::CmpFOp::create(
        b, loc,
        isLarger ? arith::CmpFPredicate::OGT : arith::CmpFPredicate::OLT, x, y);
  auto predicate =
      type.isUnsignedInteger()
          ? (isLarger ? arith::CmpIPredicate::ugt : arith::CmpIPredicate::ult)
          : (isLarger ? arith::CmpIPredicate::sgt : arith::CmpIPredicate::slt);
  Type bits = signlessOf(type);
  return arith::CmpIOp::create(b, loc, predicate, bitsAs(b, loc, x, bits),
                               bitsAs(b, loc, y, bits));
}
