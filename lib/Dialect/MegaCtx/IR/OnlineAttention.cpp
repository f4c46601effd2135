//===- OnlineAttention.cpp - links of attention: verifiers, effects -------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

using namespace mlir;
using namespace mlir::megactx;

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

LogicalResult OnlineAttentionOp::verify() {
  if (failed(checkLink(*this, /*isTile=*/!getOrigin().empty())))
    return failure();
  ShapedType query = typeOf(getQuery()), acc = typeOf(getAcc());
  std::pair<StringRef, ShapedType> rows[] = {{"max", typeOf(getMax())},
                                             {"sum", typeOf(getSum())}};
  if (failed(checkRank(*this, "acc", acc, 4)) ||
      failed(checkF32(*this, "acc", acc)) ||
      failed(checkDim(*this, "acc", acc, 3, typeOf(getValue()), 3, "value")))
    return failure();
  for (unsigned i : {0, 1, 2})
    if (failed(checkDim(*this, "acc", acc, i, query, i, "query")))
      return failure();
  for (auto &[name, type] : rows) {
    if (failed(checkRank(*this, name, type, 3)) ||
        failed(checkF32(*this, name, type)))
      return failure();
    for (unsigned i : {0, 1, 2})
      if (failed(checkDim(*this, name, type, i, query, i, "query")))
        return failure();
  }
  if (!getOrigin().empty() && getOrigin().size() != 5)
    return emitOpError("expected origin to have 5 values (batch, head, query "
                       "row, key row, number of key rows), but got ")
           << getOrigin().size();
  return checkDestinations(*this);
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
        failed(checkF32(*this, name, type)))
      return failure();
    for (unsigned i : {0, 1, 2})
      if (failed(checkDim(*this, name, type, i, acc, i, "acc")))
        return failure();
  }
  if (failed(checkF32(*this, "acc", acc)))
    return failure();
  if (!isStorage(out.getElementType()))
    return emitOpError("expected out of element type f32, f16 or bf16, but "
                       "got ")
           << out;
  return checkDestinations(*this);
}
