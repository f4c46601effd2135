//===- TopK.cpp - the first elements in an order: verifier ----------------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

using namespace mlir;
using namespace mlir::megactx;

MutableOperandRange TopKOp::getDpsInitsMutable() {
  return MutableOperandRange(*this, /*start=*/1, /*length=*/2);
}

void TopKOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/false, effects);
}

static bool isOrdered(Type type) {
  if (auto integer = dyn_cast<IntegerType>(type))
    return llvm::is_contained({8, 16, 32, 64}, integer.getWidth());
  return type.isF16() || type.isBF16() || type.isF32() || type.isF64();
}

static LogicalResult verifyTypes(TopKOp op) {
  ShapedType data = typeOf(op.getData());
  if (!data.hasRank() || data.getRank() < 1)
    return op.emitOpError("expected data of rank 1 or more, but got ") << data;
  Type element = data.getElementType();
  if (!isOrdered(element))
    return op.emitOpError("expected numbers of 8 to 64 bits, but got ") << data;
  std::tuple<StringRef, Value, Type> operands[] = {
      {"data", op.getData(), element},
      {"values", op.getValues(), element},
      {"indices", op.getIndices(), IntegerType::get(op.getContext(), 64)}};
  for (auto [what, value, expected] : operands) {
    ShapedType type = typeOf(value);
    if (failed(checkForm(op, type, typeOf(op.getValues()))) ||
        failed(checkRank(op, what, type, data.getRank())))
      return failure();
    if (type.getElementType() != expected)
      return op.emitOpError("expected ")
             << what << " of " << expected << ", but got " << type;
  }
  return success();
}

LogicalResult TopKOp::verify() {
  if (failed(verifyTypes(*this)))
    return failure();
  ShapedType data = typeOf(getData()), values = typeOf(getValues()),
             indices = typeOf(getIndices());
  int64_t axis = getAxis();
  if (axis < 0 || axis >= data.getRank())
    return emitOpError("expected an axis of ") << data << ", but got " << axis;
  for (int64_t dim = 0; dim < data.getRank(); ++dim)
    if (failed(
            checkDim(*this, "indices", indices, dim, values, dim, "values")) ||
        (dim != axis &&
         failed(checkDim(*this, "values", values, dim, data, dim, "data"))))
      return failure();
  int64_t given = data.getDimSize(axis), taken = values.getDimSize(axis);
  if (!ShapedType::isDynamic(given) && !ShapedType::isDynamic(taken) &&
      taken > given)
    return emitOpError("expected at most ")
           << given << " elements along axis " << axis << ", but got " << taken;
  return checkDestinations(*this);
}
