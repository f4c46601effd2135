//===- Backward.cpp - gradients of attention: verifiers, effects ----------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

using namespace mlir;
using namespace mlir::megactx;

/// Of a row each: f32 [B, Hq, Nq] as the queries'.
static LogicalResult checkPerRow(Operation *op, StringRef what, Value value,
                                 ShapedType query) {
  ShapedType type = typeOf(value);
  if (failed(checkRank(op, what, type, 3)) || failed(checkF32(op, what, type)))
    return failure();
  for (unsigned i : {0, 1, 2})
    if (failed(checkDim(op, what, type, i, query, i, "query")))
      return failure();
  return success();
}

/// [B, Hq, Nq, Dv] of the queries' element type.
static LogicalResult checkLikeOut(Operation *op, StringRef what, Value value,
                                  ShapedType query, ShapedType values) {
  ShapedType type = typeOf(value);
  if (failed(checkRank(op, what, type, 4)))
    return failure();
  if (type.getElementType() != query.getElementType())
    return op->emitOpError("expected ")
           << what << " of element type " << query.getElementType()
           << ", but got " << type;
  for (unsigned i : {0, 1, 2})
    if (failed(checkDim(op, what, type, i, query, i, "query")))
      return failure();
  return checkDim(op, what, type, 3, values, 3, "value");
}

static LogicalResult checkGradient(Operation *op, StringRef what,
                                   ShapedType gradient, ShapedType of,
                                   Type element) {
  if (failed(checkRank(op, what, gradient, 4)))
    return failure();
  if (gradient.getElementType() != element)
    return op->emitOpError("expected ") << what << " of element type "
                                        << element << ", but got " << gradient;
  for (unsigned i : {0, 1, 2, 3})
    if (failed(checkDim(op, what, gradient, i, of, i, "operand")))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// attention_backward
//===----------------------------------------------------------------------===//

LogicalResult AttentionBackwardOp::verify() {
  ShapedType query = getQuery().getType();
  if (getSources().empty())
    return emitOpError("expected at least one source");
  if (failed(checkRank(*this, "query", query, 4)) ||
      failed(checkPerRow(*this, "lse", getLse(), query)) ||
      (getDlse() && failed(checkPerRow(*this, "dlse", getDlse(), query))))
    return failure();
  SmallVector<std::pair<std::string, ShapedType>> wanted = {{"dq", query}};
  for (Value source : getSources()) {
    auto type = cast<SourceType>(source.getType());
    ShapedType key = type.getKey(), value = type.getValue();
    if (failed(checkRank(*this, "key", key, 4)) ||
        failed(checkRank(*this, "value", value, 4)) ||
        failed(checkLikeOut(*this, "out", getOut(), query, value)) ||
        failed(checkLikeOut(*this, "dout", getDout(), query, value)))
      return failure();
    if (key.getElementType() != query.getElementType())
      return emitOpError("expected query of the sources' element type ")
             << key.getElementType() << ", but got " << query.getElementType();
    for (unsigned i : {0, 3})
      if (failed(checkDim(*this, "key", key, i, query, i, "query")))
        return failure();
    if (failed(checkHeads(*this, query.getDimSize(1), key.getDimSize(1))))
      return failure();
    wanted.push_back({"dk", key});
    wanted.push_back({"dv", value});
  }
  if (getBiasGradients())
    for (Value operand : getSources())
      if (auto source = operand.getDefiningOp<SourceOp>())
        for (Value bias : source.getBiases())
          wanted.push_back({"gradient of a bias", typeOf(bias)});
  if (getNumResults() != wanted.size())
    return emitOpError("expected ")
           << wanted.size() << " gradients, but got " << getNumResults();
  for (auto [result, of] : llvm::zip_equal(getResults(), wanted))
    if (failed(checkGradient(*this, of.first, typeOf(result), of.second,
                             of.second.getElementType())))
      return failure();
  if (failed(checkPositions(*this, "positions", getPositions(), getOffset(),
                            query, "query")) ||
      failed(checkOffset(*this, "offset", getOffset(), query, "query")) ||
      failed(checkScores(*this, getScale(), getSoftcap())))
    return failure();
  return checkStep(*this, "query_step", getQueryStep());
}

//===----------------------------------------------------------------------===//
// online_attention_backward and its fused forms
//===----------------------------------------------------------------------===//

/// What a link of gradients has of each row, and sums of those of its operands.
template <typename Op>
static LogicalResult checkBackward(Op op,
                                   ArrayRef<std::pair<StringRef, Value>> sums,
                                   ValueRange of) {
  if (failed(checkLink(op)))
    return failure();
  ShapedType query = typeOf(op.getQuery()), value = typeOf(op.getValue());
  if (failed(checkPerRow(op, "lse", op.getLse(), query)) ||
      failed(checkPerRow(op, "delta", op.getDelta(), query)) ||
      failed(checkLikeOut(op, "dout", op.getDout(), query, value)))
    return failure();
  Type f32 = Float32Type::get(op.getContext());
  for (auto [sum, operand] : llvm::zip_equal(sums, of))
    if (failed(checkGradient(op, sum.first, typeOf(sum.second), typeOf(operand),
                             f32)))
      return failure();
  return checkDestinations(op);
}

MutableOperandRange OnlineAttentionBackwardOp::getDpsInitsMutable() {
  unsigned count = 3 + getDbiases().size();
  return MutableOperandRange(*this, getOperation()->getNumOperands() - count,
                             count);
}

LogicalResult OnlineAttentionBackwardOp::verify() {
  if (!getDbiases().empty() && getDbiases().size() != getBiases().size())
    return emitOpError("expected no gradients of biases or ")
           << getBiases().size() << ", but got " << getDbiases().size();
  SmallVector<std::pair<StringRef, Value>> sums = {
      {"dq", getDq()}, {"dk", getDk()}, {"dv", getDv()}};
  SmallVector<Value> of = {getQuery(), getKey(), getValue()};
  for (auto [sum, bias] : llvm::zip(getDbiases(), getBiases())) {
    sums.push_back({"gradient of a bias", sum});
    of.push_back(bias);
  }
  return checkBackward(*this, sums, of);
}

LogicalResult FusedQueryGradientOp::verify() {
  return checkBackward(*this, {{"dq", getDq()}}, {getQuery()});
}

LogicalResult FusedKeyGradientOp::verify() {
  return checkBackward(*this, {{"dk", getDk()}, {"dv", getDv()}},
                       {getKey(), getValue()});
}

/// Parts, and of each the sums over pairs, or over those of a distance.
static LogicalResult checkBiasSums(FusedBiasGradientOp op) {
  ShapedType sums = typeOf(op.getDbias());
  ShapedType query = typeOf(op.getQuery()), key = typeOf(op.getKey());
  bool byDistance = sums.getRank() == 4;
  if (!byDistance && failed(checkRank(op, "gradient of a bias", sums, 5)))
    return failure();
  int64_t rows = query.getDimSize(2), columns = key.getDimSize(2);
  SmallVector<int64_t> wanted = {query.getDimSize(0), query.getDimSize(1)};
  if (!byDistance)
    wanted.append({rows, columns});
  for (auto [size, want] : llvm::zip(sums.getShape().drop_front(), wanted))
    if (size != 1 && !agree(size, want))
      return op.emitOpError("expected a gradient of a bias with dims of 1 or "
                            "those of scores after its parts, but got ")
             << sums;
  if (byDistance && !ShapedType::isDynamic(rows) &&
      !ShapedType::isDynamic(columns) &&
      !agree(sums.getDimSize(3), std::max<int64_t>(0, rows + columns - 1)))
    return op.emitOpError("expected an element for each of ")
           << rows + columns - 1 << " distances, but got " << sums;
  if (sums.getDimSize(0) == 0)
    return op.emitOpError("expected at least one part, but got ") << sums;
  return success();
}

LogicalResult FusedBiasGradientOp::verify() {
  if (failed(checkBackward(*this, {}, {})) ||
      failed(checkF32(*this, "gradient of a bias", typeOf(getDbias()))))
    return failure();
  return checkBiasSums(*this);
}

using Effects =
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

void OnlineAttentionBackwardOp::getEffects(Effects &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/true, effects);
}
void FusedQueryGradientOp::getEffects(Effects &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/true, effects);
}
void FusedKeyGradientOp::getEffects(Effects &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/true, effects);
}
void FusedBiasGradientOp::getEffects(Effects &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/true, effects);
}
