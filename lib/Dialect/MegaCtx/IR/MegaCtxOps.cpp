//===- MegaCtxOps.cpp - verifiers of the dialect's ops --------------------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace mlir::megactx;

#define GET_OP_CLASSES
#include "megactx/Dialect/MegaCtx/IR/MegaCtxOps.cpp.inc"

LogicalResult SourceOp::verify() {
  auto key = getKey().getType(), value = getValue().getType();
  if (key.getRank() != 4 || value.getRank() != 4)
    return emitOpError("expected key and value to have rank 4, but got ")
           << key.getRank() << " and " << value.getRank();
  if (!isStorage(key.getElementType()) ||
      key.getElementType() != value.getElementType())
    return emitOpError("expected key and value of one element type out of "
                       "f32, f16 and bf16, but got ")
           << key.getElementType() << " and " << value.getElementType();
  for (unsigned i : {0, 1, 2})
    if (failed(checkDim(*this, "value", value, i, key, i, "key")))
      return failure();
  if (failed(checkStep(*this, "key_step", getKeyStep())))
    return failure();
  if (std::string error = getPattern().getPattern().checkKeyStep(getKeyStep());
      !error.empty())
    return emitOpError() << error;
  if (getResult().getType() != SourceType::get(getContext(), key, value))
    return emitOpError("expected the result to have the types of key and "
                       "value");
  if (getLengths() && failed(checkDim(*this, "lengths", getLengths().getType(),
                                      0, key, 0, "key")))
    return failure();
  if (failed(checkPositions(*this, "positions", getPositions(), getOffset(),
                            key, "key")))
    return failure();
  if (getEverywhere() && !getPattern().getPattern().isDense())
    return emitOpError("expected rows that stand everywhere to have the "
                       "pattern 'dense', but got '")
           << getPattern().getPattern().str() << "'";
  if (getSegments() && (getPositions() || getKeyStep() != 1))
    return emitOpError(
        "expected segments of rows that stand one after another, "
        "without positions and with a key_step of 1");
  for (unsigned i : {0, 1})
    if (getSegments() &&
        failed(checkDim(*this, "segments", getSegments().getType(), i, key,
                        2 * i, "key")))
      return failure();
  return checkBiases(*this, getBiases());
}

LogicalResult
AttentionOp::reifyResultShapes(OpBuilder &b,
                               ReifiedRankedShapedTypeDims &shapes) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getQuery());
  sizes.pop_back();
  if (!getOut().getType().isDynamicDim(3))
    sizes.push_back(b.getIndexAttr(getOut().getType().getDimSize(3)));
  else if (auto source = getSources().front().getDefiningOp<SourceOp>())
    sizes.push_back(tensor::getMixedSize(b, getLoc(), source.getValue(), 3));
  else
    return failure();
  // Attributes where the result's own type is static, and only there.
  for (Value result : getResults()) {
    auto type = cast<RankedTensorType>(result.getType());
    SmallVector<OpFoldResult> &own = shapes.emplace_back();
    for (auto [i, size] : llvm::enumerate(type.getShape()))
      if (ShapedType::isDynamic(size))
        own.push_back(getValueOrCreateConstantIndexOp(b, getLoc(), sizes[i]));
      else
        own.push_back(b.getIndexAttr(size));
  }
  return success();
}

LogicalResult AttentionOp::verify() {
  auto query = getQuery().getType(), out = getOut().getType();
  if (getSources().empty())
    return emitOpError("expected at least one source");
  if (query.getRank() != 4 || out.getRank() != 4)
    return emitOpError("expected query and out to have rank 4, but got ")
           << query.getRank() << " and " << out.getRank();
  for (Value source : getSources()) {
    auto type = cast<SourceType>(source.getType());
    RankedTensorType key = type.getKey(), value = type.getValue();
    if (key.getRank() != 4 || value.getRank() != 4)
      return emitOpError("expected sources of rank 4");
    if (key.getElementType() != query.getElementType())
      return emitOpError("expected query of the sources' element type ")
             << key.getElementType() << ", but got " << query.getElementType();
    if (failed(checkDim(*this, "key", key, 0, query, 0, "query")) ||
        failed(checkDim(*this, "key", key, 3, query, 3, "query")) ||
        failed(checkDim(*this, "out", out, 3, value, 3, "value")))
      return failure();
    if (failed(checkHeads(*this, query.getDimSize(1), key.getDimSize(1))))
      return failure();
  }
  for (unsigned i : {0, 1, 2})
    if (failed(checkDim(*this, "out", out, i, query, i, "query")))
      return failure();
  if (getLse() && (getLse().getType().getRank() != 3 ||
                   !getLse().getType().getElementType().isF32()))
    return emitOpError("expected lse to have rank 3 and element type f32");
  for (unsigned i : {0, 1, 2})
    if (getLse() && failed(checkDim(*this, "lse", getLse().getType(), i, query,
                                    i, "query")))
      return failure();
  if (failed(checkPositions(*this, "positions", getPositions(), getOffset(),
                            query, "query")) ||
      failed(checkOffset(*this, "offset", getOffset(), query, "query")))
    return failure();
  if (failed(checkScores(*this, getScale(), getSoftcap())))
    return failure();
  return checkStep(*this, "query_step", getQueryStep());
}

MutableOperandRange FusedAttentionOp::getDpsInitsMutable() {
  return MutableOperandRange(*this, getOperation()->getNumOperands() - 2, 2);
}

LogicalResult FusedAttentionOp::verify() {
  if (failed(checkLink(*this)))
    return failure();
  ShapedType query = typeOf(getQuery()), out = typeOf(getOut()),
             lse = typeOf(getLse());
  if (failed(checkRank(*this, "out", out, 4)) ||
      failed(checkRank(*this, "lse", lse, 3)) ||
      failed(checkF32(*this, "lse", lse)))
    return failure();
  if (out.getElementType() != query.getElementType())
    return emitOpError("expected out of element type ")
           << query.getElementType() << ", but got " << out;
  if (failed(checkDim(*this, "out", out, 3, typeOf(getValue()), 3, "value")))
    return failure();
  for (unsigned i : {0, 1, 2})
    if (failed(checkDim(*this, "out", out, i, query, i, "query")) ||
        failed(checkDim(*this, "lse", lse, i, query, i, "query")))
      return failure();
  return checkDestinations(*this);
}

void FusedAttentionOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/getAccumulate(),
                        effects);
}

//===----------------------------------------------------------------------===//
// TransposeViewOp
//===----------------------------------------------------------------------===//

void TransposeViewOp::build(OpBuilder &b, OperationState &state, Value input,
                            ArrayRef<int64_t> permutation) {
  auto type = cast<RankedTensorType>(input.getType());
  build(b, state, type.clone(applyPermutation(type.getShape(), permutation)),
        input, permutation);
}

LogicalResult TransposeViewOp::verify() {
  auto type = getInput().getType();
  ArrayRef<int64_t> permutation = getPermutation();
  if (!isPermutationVector(permutation) ||
      int64_t(permutation.size()) != type.getRank())
    return emitOpError("expected a permutation of the ")
           << type.getRank() << " dims of input";
  RankedTensorType expected =
      type.clone(applyPermutation(type.getShape(), permutation));
  if (getResult().getType() != expected)
    return emitOpError("expected a result of type ") << expected;
  return success();
}

OpFoldResult TransposeViewOp::fold(FoldAdaptor) {
  if (isIdentityPermutation(getPermutation()))
    return getInput();
  auto other = getInput().getDefiningOp<TransposeViewOp>();
  if (!other)
    return {};
  setPermutation(applyPermutation(other.getPermutation(), getPermutation()));
  getInputMutable().assign(other.getInput());
  return getResult();
}

LogicalResult
TransposeViewOp::reifyResultShapes(OpBuilder &b,
                                   ReifiedRankedShapedTypeDims &shapes) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getInput());
  applyPermutationToVector(sizes, getPermutation());
  shapes.push_back(std::move(sizes));
  return success();
}

//===----------------------------------------------------------------------===//
// ToeplitzViewOp
//===----------------------------------------------------------------------===//

LogicalResult ToeplitzViewOp::verify() {
  RankedTensorType table = getTable().getType(), type = getResult().getType();
  if (table.getRank() < 1 || type.getRank() != table.getRank() + 1 ||
      type.getElementType() != table.getElementType() ||
      type.getShape().drop_back(2) != table.getShape().drop_back())
    return emitOpError("expected a result with the leading dims of ")
           << table << ", rows and columns, but got " << type;
  std::optional<int64_t> known[] = {getConstantIntValue(getRows()),
                                    getConstantIntValue(getColumns())};
  const char *names[] = {" rows", " columns"};
  for (auto [size, dim, name] :
       llvm::zip(known, type.getShape().take_back(2), names))
    if (size && (*size < 0 || (dim != ShapedType::kDynamic && dim != *size)))
      return emitOpError("expected ") << *size << name << ", but got " << type;
  int64_t elements = table.getShape().back();
  if (known[0] && known[1] && elements != ShapedType::kDynamic &&
      elements < *known[0] + *known[1] - 1)
    return emitOpError("expected a table of ")
           << *known[0] + *known[1] - 1 << " elements for " << *known[0]
           << " rows and " << *known[1] << " columns, but got " << elements;
  return success();
}

LogicalResult
ToeplitzViewOp::reifyResultShapes(OpBuilder &b,
                                  ReifiedRankedShapedTypeDims &shapes) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getTable());
  sizes.pop_back();
  RankedTensorType type = getResult().getType();
  for (Value size : {getRows(), getColumns()}) {
    int64_t dim = type.getDimSize(sizes.size());
    sizes.push_back(dim == ShapedType::kDynamic ? OpFoldResult(size)
                                                : b.getIndexAttr(dim));
  }
  shapes.push_back(std::move(sizes));
  return success();
}
