//===- Checks.h - what verifiers of several ops share -----------*- C++ -*-===//

#ifndef MEGACTX_LIB_DIALECT_MEGACTX_IR_CHECKS_H
#define MEGACTX_LIB_DIALECT_MEGACTX_IR_CHECKS_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace mlir::megactx {

inline ShapedType typeOf(Value value) {
  return cast<ShapedType>(value.getType());
}

/// Whether two sizes can be equal.
inline bool agree(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

/// Whether attention can store this element type: f32, f16 or bf16.
inline bool isStorage(Type type) {
  return type.isF32() || type.isF16() || type.isBF16();
}

/// The type of a tensor of this rank, null after an error.
RankedTensorType ranked(std::optional<Location> loc, StringRef what,
                        Value value, int64_t rank);

/// Dim i of `a` (called `what`) equals dim j of `b` (called `other`).
LogicalResult checkDim(Operation *op, StringRef what, ShapedType a, unsigned i,
                       ShapedType b, unsigned j, StringRef other);
LogicalResult checkRank(Operation *op, StringRef what, ShapedType type,
                        int64_t rank);
/// Ranked tensors where the destination is one, else ranked memrefs.
LogicalResult checkForm(Operation *op, ShapedType type, ShapedType out);
/// Positions of rows: index of rank 2, [B, rows] as dims 0 and 2 of `of`
/// (called `other`) are, in place of an offset. Null is fine.
LogicalResult checkPositions(Operation *op, StringRef what, Value positions,
                             Value offset, ShapedType of, StringRef other);
/// An index, or index of rank 1 with the size of dim 0 of `of` (called
/// `other`). Null is fine.
LogicalResult checkOffset(Operation *op, StringRef what, Value offset,
                          ShapedType of, StringRef other);
/// Rank 4 and f32.
LogicalResult checkBiases(Operation *op, ValueRange biases);
/// Whether the piece's values per row are those of the bounds.
LogicalResult checkSegments(Operation *op, Value bounds,
                            const pattern::Piece &piece);
/// The operands of a link agree with each other and with its pieces; `isTile`:
/// positions are those of a larger op.
LogicalResult checkLink(AttentionLinkInterface op, bool isTile = false);
/// Rows are at least 1 token apart, and at most what patterns count to.
LogicalResult checkStep(Operation *op, StringRef name, int64_t step);

/// The scale is finite and the softcap, if any, positive and finite.
LogicalResult checkScores(Operation *op, const APFloat &scale,
                          std::optional<APFloat> softcap);
/// Results stand for destinations on tensors; memrefs are updated in place.
LogicalResult checkDestinations(DestinationStyleOpInterface op);
LogicalResult checkF32(Operation *op, StringRef what, ShapedType type);
/// Query heads are a multiple of key heads.
LogicalResult checkHeads(Operation *op, int64_t heads, int64_t keyHeads);

/// Effects of an op in destination style: none on tensors; memrefs are read,
/// destinations written and, where `readsInits`, read.
void addDestinationEffects(
    Operation *op, bool readsInits,
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects);

} // namespace mlir::megactx

#endif
