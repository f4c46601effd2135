//===- AttentionLink.cpp - what links of attention have in common ---------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;

#include "megactx/Dialect/MegaCtx/IR/AttentionLinkInterface.cpp.inc"

SmallVector<pattern::Piece> mlir::megactx::pieceList(ArrayAttr pieces) {
  SmallVector<pattern::Piece> list;
  for (PieceAttr attr : pieces.getAsRange<PieceAttr>())
    list.push_back(attr.getPiece());
  return list;
}

static LogicalResult checkRows(AttentionLinkInterface op) {
  ShapedType query = typeOf(op.getQuery()), key = typeOf(op.getKey()),
             value = typeOf(op.getValue());
  if (failed(checkRank(op, "query", query, 4)) ||
      failed(checkRank(op, "key", key, 4)) ||
      failed(checkRank(op, "value", value, 4)))
    return failure();
  Type element = query.getElementType();
  if (!isStorage(element) || key.getElementType() != element ||
      value.getElementType() != element)
    return op.emitOpError("expected query, key and value of one element type "
                          "out of f32, f16 and bf16, but got ")
           << element << ", " << key.getElementType() << " and "
           << value.getElementType();
  for (unsigned i : {0, 1, 2})
    if (failed(checkDim(op, "value", value, i, key, i, "key")))
      return failure();
  for (unsigned i : {0, 3})
    if (failed(checkDim(op, "key", key, i, query, i, "query")))
      return failure();
  return checkHeads(op, query.getDimSize(1), key.getDimSize(1));
}

/// A tile has the positions of the larger op, whose sizes are not known here.
static LogicalResult checkPositions(AttentionLinkInterface op, bool isTile) {
  auto any =
      RankedTensorType::get(SmallVector<int64_t>(4, ShapedType::kDynamic),
                            Float32Type::get(op.getContext()));
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

static LogicalResult checkExtras(AttentionLinkInterface op) {
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

LogicalResult mlir::megactx::checkScores(Operation *op, const APFloat &scale,
                                         std::optional<APFloat> softcap) {
  // Kernels have both in units of log2.
  auto isFinite = [](const APFloat &x) {
    return std::isfinite(x.convertToFloat() * static_cast<float>(M_LOG2E));
  };
  if (!isFinite(scale))
    return op->emitOpError("expected a finite scale");
  if (softcap && !(softcap->convertToFloat() > 0 && isFinite(*softcap)))
    return op->emitOpError("expected a positive and finite softcap");
  return success();
}

LogicalResult mlir::megactx::checkStep(Operation *op, StringRef name,
                                       int64_t step) {
  if (step >= 1 && step <= pattern::kMaxPosition)
    return success();
  return op->emitOpError("expected ")
         << name << " of 1 to " << pattern::kMaxPosition << ", but got "
         << step;
}

LogicalResult mlir::megactx::checkLink(AttentionLinkInterface op, bool isTile) {
  if (failed(checkRows(op)) || failed(checkExtras(op)) ||
      failed(::checkPositions(op, isTile)) ||
      failed(checkScores(op, op.getScale(), op.getSoftcap())))
    return failure();
  if (failed(checkStep(op, "query_step", op.getQueryStep())) ||
      failed(checkStep(op, "key_step", op.getKeyStep())))
    return failure();
  SmallVector<pattern::Piece> pieces = op.getPieceList();
  if (pieces.empty())
    return op.emitOpError("expected at least one piece");
  for (const pattern::Piece &piece : pieces)
    if (failed(checkSegments(op, op.getSegmentBounds(), piece)))
      return failure();
  return success();
}

LogicalResult mlir::megactx::checkDestinations(DestinationStyleOpInterface op) {
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

LogicalResult mlir::megactx::checkF32(Operation *op, StringRef what,
                                      ShapedType type) {
  if (type.getElementType().isF32())
    return success();
  return op->emitOpError("expected ")
         << what << " of element type f32, but got " << type;
}
