//===- Checks.cpp - what verifiers of several ops share -------------------===//

#include "Checks.h"
#include "megactx/Pattern/SegmentBounds.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"

using namespace mlir;

RankedTensorType mlir::megactx::ranked(std::optional<Location> loc,
                                       StringRef what, Value value,
                                       int64_t rank) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (type && type.getRank() == rank)
    return type;
  (void)emitOptionalError(loc, "expected ", what, " to have rank ", rank,
                          ", but got ", value.getType());
  return nullptr;
}

LogicalResult mlir::megactx::checkDim(Operation *op, StringRef what,
                                      ShapedType a, unsigned i, ShapedType b,
                                      unsigned j, StringRef other) {
  if (agree(a.getDimSize(i), b.getDimSize(j)))
    return success();
  return op->emitOpError("expected ")
         << what << " dim " << i << " to equal " << other << " dim " << j
         << ", but got " << a.getDimSize(i) << " vs " << b.getDimSize(j);
}

LogicalResult mlir::megactx::checkRank(Operation *op, StringRef what,
                                       ShapedType type, int64_t rank) {
  if (type.hasRank() && type.getRank() == rank)
    return success();
  return op->emitOpError("expected ")
         << what << " to have rank " << rank << ", but got " << type;
}

LogicalResult mlir::megactx::checkForm(Operation *op, ShapedType type,
                                       ShapedType out) {
  if (isa<RankedTensorType>(out) ? isa<RankedTensorType>(type)
                                 : isa<MemRefType>(type))
    return success();
  return op->emitOpError("expected ranked tensors or memrefs throughout, but "
                         "got ")
         << type << " and " << out;
}

LogicalResult mlir::megactx::checkPositions(Operation *op, StringRef what,
                                            Value positions, Value offset,
                                            ShapedType of, StringRef other) {
  if (!positions)
    return success();
  if (offset)
    return op->emitOpError("expected either ")
           << what << " or an offset of the same rows, not both";
  auto type = cast<ShapedType>(positions.getType());
  if (failed(checkRank(op, what, type, 2)))
    return failure();
  if (!type.getElementType().isIndex())
    return op->emitOpError("expected ")
           << what << " of element type index, but got " << type;
  if (failed(checkDim(op, what, type, 0, of, 0, other)))
    return failure();
  return checkDim(op, what, type, 1, of, 2, other);
}

LogicalResult mlir::megactx::checkOffset(Operation *op, StringRef what,
                                         Value offset, ShapedType of,
                                         StringRef other) {
  auto type = offset ? dyn_cast<ShapedType>(offset.getType()) : ShapedType();
  if (!type)
    return success();
  if (failed(checkRank(op, what, type, 1)))
    return failure();
  if (!type.getElementType().isIndex())
    return op->emitOpError("expected ")
           << what << " of element type index, but got " << type;
  return checkDim(op, what, type, 0, of, 0, other);
}

LogicalResult mlir::megactx::checkBiases(Operation *op, ValueRange biases) {
  for (Value bias : biases) {
    auto type = cast<ShapedType>(bias.getType());
    if (!type.hasRank() || type.getRank() != 4 ||
        !type.getElementType().isF32())
      return op->emitOpError("expected bias to have rank 4 and element type "
                             "f32, but got ")
             << type;
  }
  return success();
}

LogicalResult mlir::megactx::checkSegments(Operation *op, Value bounds,
                                           const pattern::Piece &piece) {
  using pattern::Expr;
  bool isKnown = true, isUsed = false;
  Expr condition = piece.condition();
  if (condition)
    condition.substitute([&](const Expr &expr) {
      if (expr.kind() != Expr::Kind::Operand)
        return Expr();
      isUsed = true;
      isKnown &= expr.name() == pattern::kSegmentBegin ||
                 expr.name() == pattern::kSegmentEnd;
      return Expr();
    });
  if (!isKnown)
    return op->emitOpError("expected values per row of the names '")
           << pattern::kSegmentBegin << "' and '" << pattern::kSegmentEnd
           << "', but got " << piece.str();
  if (isUsed && !bounds)
    return op->emitOpError("expected segments, which ")
           << piece.str() << " reads";
  if (!bounds)
    return success();
  auto type = cast<ShapedType>(bounds.getType());
  if (!type.hasRank() || type.getRank() != 3 ||
      !type.getElementType().isIndex())
    return op->emitOpError("expected segments to have rank 3 and element type "
                           "index, but got ")
           << type;
  return success();
}

LogicalResult mlir::megactx::checkHeads(Operation *op, int64_t heads,
                                        int64_t keyHeads) {
  if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(keyHeads) ||
      (keyHeads >= 1 && heads % keyHeads == 0))
    return success();
  return op->emitOpError("expected the number of query heads to be a multiple "
                         "of the key heads, but got ")
         << heads << " and " << keyHeads;
}

void mlir::megactx::addDestinationEffects(
    Operation *op, bool readsInits,
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  auto destinations = cast<DestinationStyleOpInterface>(op);
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    bool isInit = destinations.isDpsInit(&operand);
    if (!isInit || readsInits)
      effects.emplace_back(MemoryEffects::Read::get(), &operand,
                           SideEffects::DefaultResource::get());
    if (isInit)
      effects.emplace_back(MemoryEffects::Write::get(), &operand,
                           SideEffects::DefaultResource::get());
  }
}
