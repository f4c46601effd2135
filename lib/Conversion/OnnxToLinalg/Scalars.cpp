//===- Scalars.cpp - contents of constants, casts of scalars --------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
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

Value mlir::megactx::indexOf(OpBuilder &b, Location loc, Value integer) {
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), integer);
}

Value mlir::megactx::castScalar(OpBuilder &b, Location loc, Value value,
                                Type to) {
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
    if (fromInt.getWidth() == 1)
      return arith::ExtUIOp::create(b, loc, to, value);
    return arith::ExtSIOp::create(b, loc, to, value);
  }
  if (fromInt && toFloat) {
    if (fromInt.getWidth() == 1)
      return arith::UIToFPOp::create(b, loc, to, value);
    return arith::SIToFPOp::create(b, loc, to, value);
  }
  if (fromFloat && toInt)
    return arith::FPToSIOp::create(b, loc, to, value);
  if (!fromFloat || !toFloat)
    return {};
  if (fromFloat.getWidth() < toFloat.getWidth())
    return arith::ExtFOp::create(b, loc, to, value);
  if (fromFloat.getWidth() > toFloat.getWidth())
    return arith::TruncFOp::create(b, loc, to, value);
  Value wide = arith::ExtFOp::create(b, loc, b.getF32Type(), value);
  return arith::TruncFOp::create(b, loc, to, wide);
}
