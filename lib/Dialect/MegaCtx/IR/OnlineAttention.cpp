//===- OnlineAttention.cpp - links of attention: verifiers, effects -------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;

static ShapedType typeOf(Value value) {
  return cast<ShapedType>(value.getType());
}

static LogicalResult checkElement(Operation *op, StringRef what,
                                  ShapedType type) {
  if (type.getElementType().isF32())
    return success();
  return op->emitOpError("expected ")
         << what << " of element type f32, but got " << type;
}

/// Results stand for destinations on tensors; memrefs are updated in place.
static LogicalResult checkResults(DestinationStyleOpInterface op) {
  bool tensors = op.hasPureTensorSemantics();
  if (!tensors && !op.hasPureBufferSemantics())
    return op->emitOpError("expected tensors only or memrefs only");
  unsigned expected = tensors ? op.getNumDpsInits() : 0;
  if (op->getNumResults() == expected)
    return success();
  return op->emitOpError("expected ")
         << expected << " results, one per destination on tensors and none on "
         << "memrefs, but got " << op->getNumResults();
}

//===----------------------------------------------------------------------===//
// online_attention
//===----------------------------------------------------------------------===//

MutableOperandRange OnlineAttentionOp::getDpsInitsMutable() {
  return MutableOperandRange(*this, getOperation()->getNumOperands() - 3, 3);
}

void OnlineAttentionOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/true, effects);
}

static LogicalResult checkTypes(OnlineAttentionOp op) {
  ShapedType query = typeOf(op.getQuery()), key = typeOf(op.getKey()),
             value = typeOf(op.getValue()), acc = typeOf(op.getAcc()),
             max = typeOf(op.getMax()), sum = typeOf(op.getSum());
  if (failed(checkRank(op, "query", query, 4)) ||
      failed(checkRank(op, "key", key, 4)) ||
      failed(checkRank(op, "value", value, 4)) ||
      failed(checkRank(op, "acc", acc, 4)) ||
      failed(checkRank(op, "max", max, 3)) ||
      failed(checkRank(op, "sum", sum, 3)))
    return failure();
  Type element = query.getElementType();
  if (!isStorage(element) || key.getElementType() != element ||
      value.getElementType() != element)
    return op.emitOpError("expected query, key and value of one element type "
                          "out of f32, f16 and bf16, but got ")
           << element << ", " << key.getElementType() << " and "
           << value.getElementType();
  if (failed(checkElement(op, "acc", acc)) ||
      failed(checkElement(op, "max", max)) ||
      failed(checkElement(op, "sum", sum)))
    return failure();
  return success();
}

static LogicalResult checkShapes(OnlineAttentionOp op) {
  ShapedType query = typeOf(op.getQuery()), key = typeOf(op.getKey()),
             value = typeOf(op.getValue()), acc = typeOf(op.getAcc());
  for (unsigned i : {0, 1, 2})
    if (failed(checkDim(op, "value", value, i, key, i, "key")))
      return failure();
  for (unsigned i : {0, 3})
    if (failed(checkDim(op, "key", key, i, query, i, "query")))
      return failure();
  if (failed(checkHeads(op, query.getDimSize(1), key.getDimSize(1))))
    return failure();
  for (unsigned i : {0, 1, 2})
    if (failed(checkDim(op, "acc", acc, i, query, i, "query")) ||
        failed(
            checkDim(op, "max", typeOf(op.getMax()), i, query, i, "query")) ||
        failed(checkDim(op, "sum", typeOf(op.getSum()), i, query, i, "query")))
      return failure();
  return checkDim(op, "acc", acc, 3, value, 3, "value");
}

/// A tile has the positions of the larger op, whose sizes are not known here.
static LogicalResult checkPositions(OnlineAttentionOp op) {
  auto any =
      RankedTensorType::get(SmallVector<int64_t>(4, ShapedType::kDynamic),
                            Float32Type::get(op.getContext()));
  bool isTile = !op.getOrigin().empty();
  ShapedType query = isTile ? ShapedType(any) : typeOf(op.getQuery()),
             key = isTile ? ShapedType(any) : typeOf(op.getKey());
  if (failed(checkPositions(op, "query_positions", op.getQueryPositions(),
                            op.getQueryOffset(), query, "query")) ||
      failed(
          checkOffset(op, "query_offset", op.getQueryOffset(), query, "query")))
    return failure();
  return checkPositions(op, "key_positions", op.getKeyPositions(),
                        op.getKeyOffset(), key, "key");
}

static LogicalResult checkExtras(OnlineAttentionOp op) {
  ShapedType query = typeOf(op.getQuery()), key = typeOf(op.getKey());
  if (failed(checkBiases(op, op.getBiases())))
    return failure();
  int64_t full[] = {query.getDimSize(0), query.getDimSize(1),
                    query.getDimSize(2), key.getDimSize(2)};
  for (Value value : op.getBiases())
    for (auto [i, size] : llvm::enumerate(full)) {
      int64_t own = typeOf(value).getDimSize(i);
      if (own != 1 && !agree(own, size))
        return op.emitOpError("expected bias dim ")
               << i << " to be 1 or " << size << ", but got " << own;
    }
  if (!op.getLengths())
    return success();
  ShapedType lengths = typeOf(op.getLengths());
  if (!lengths.hasRank() || lengths.getRank() != 1 ||
      !lengths.getElementType().isIndex())
    return op.emitOpError("expected lengths to have rank 1 and element type "
                          "index, but got ")
           << lengths;
  return checkDim(op, "lengths", lengths, 0, query, 0, "query");
}

LogicalResult OnlineAttentionOp::verify() {
  if (failed(checkTypes(*this)) || failed(checkShapes(*this)) ||
      failed(checkExtras(*this)) || failed(::checkPositions(*this)))
    return failure();
  if (!std::isfinite(getScale().convertToFloat()))
    return emitOpError("expected a finite scale");
  if (getSoftcap() && !(getSoftcap()->convertToFloat() > 0))
    return emitOpError("expected a positive softcap");
  if (getQueryStep() < 1 || getKeyStep() < 1)
    return emitOpError("expected query_step and key_step of at least 1, but "
                       "got ")
           << getQueryStep() << " and " << getKeyStep();
  if (!getOrigin().empty() && getOrigin().size() != 5)
    return emitOpError("expected origin to have 5 values (batch, head, query "
                       "row, key row, number of key rows), but got ")
           << getOrigin().size();
  if (failed(checkSegments(*this, getSegmentBounds(), getPiece().getPiece())))
    return failure();
  return checkResults(*this);
}

//===----------------------------------------------------------------------===//
// finish_attention
//===----------------------------------------------------------------------===//

MutableOperandRange FinishAttentionOp::getDpsInitsMutable() {
  return MutableOperandRange(*this, 3, 2);
}

void FinishAttentionOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/false, effects);
}

LogicalResult FinishAttentionOp::verify() {
  ShapedType acc = typeOf(getAcc()), out = typeOf(getOut());
  std::pair<StringRef, ShapedType> rows[] = {{"max", typeOf(getMax())},
                                             {"sum", typeOf(getSum())},
                                             {"lse", typeOf(getLse())}};
  if (failed(checkRank(*this, "acc", acc, 4)) ||
      failed(checkRank(*this, "out", out, 4)))
    return failure();
  for (unsigned i : {0, 1, 2, 3})
    if (failed(checkDim(*this, "out", out, i, acc, i, "acc")))
      return failure();
  for (auto &[name, type] : rows) {
    if (failed(checkRank(*this, name, type, 3)) ||
        failed(checkElement(*this, name, type)))
      return failure();
    for (unsigned i : {0, 1, 2})
      if (failed(checkDim(*this, name, type, i, acc, i, "acc")))
        return failure();
  }
  if (failed(checkElement(*this, "acc", acc)))
    return failure();
  if (!isStorage(out.getElementType()))
    return emitOpError("expected out of element type f32, f16 or bf16, but "
                       "got ")
           << out;
  return checkResults(*this);
}
