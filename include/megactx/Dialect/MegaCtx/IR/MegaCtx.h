//===- MegaCtx.h - the megactx dialect --------------------------*- C++ -*-===//

#ifndef MEGACTX_DIALECT_MEGACTX_IR_MEGACTX_H
#define MEGACTX_DIALECT_MEGACTX_IR_MEGACTX_H

#include "megactx/Pattern/Piece.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/TilingInterface.h"

#include "megactx/Dialect/MegaCtx/IR/MegaCtxDialect.h.inc"
#include "megactx/Dialect/MegaCtx/IR/MegaCtxEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "megactx/Dialect/MegaCtx/IR/MegaCtxAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "megactx/Dialect/MegaCtx/IR/MegaCtxTypes.h.inc"

namespace mlir::megactx {
/// The pieces that an array of `#megactx.piece` holds.
llvm::SmallVector<pattern::Piece> pieceList(ArrayAttr pieces);
} // namespace mlir::megactx

#include "megactx/Dialect/MegaCtx/IR/AttentionLinkInterface.h.inc"
#define GET_OP_CLASSES
#include "megactx/Dialect/MegaCtx/IR/MegaCtxOps.h.inc"

namespace mlir::megactx {
/// Whether a target's kernel takes the op as it is: fused attention, or one of
/// its fused gradients.
inline bool isFused(Operation *op) {
  return isa<FusedAttentionOp, FusedQueryGradientOp, FusedKeyGradientOp,
             FusedBiasGradientOp>(op);
}

/// Lets one-shot bufferization take the ops in destination style to memrefs.
void registerBufferization(DialectRegistry &registry);

/// Ends the run where sizes of an attention and its sources, each made by a
/// `megactx.source`, are not what their constraints say. Nothing is asked of
/// those that are known to be.
void emitCheckSizes(OpBuilder &builder, AttentionOp op);
/// The same, and of what that attention gave.
void emitCheckSizes(OpBuilder &builder, AttentionBackwardOp op);

/// Ends the run where numbers [B, N] (index) decrease along a batch row, with a
/// message of what they are; only entries before its length count where there
/// are `lengths` [B].
void emitCheckAscending(OpBuilder &builder, Location loc, Value numbers,
                        Value lengths, StringRef what);

/// The operand `segments` of `megactx.online_attention` for segment ids [B, Nk]
/// (index) of a source's rows, of which `lengths` [B] exist, or all. Decreasing
/// ids end the run.
Value emitSegmentBounds(OpBuilder &builder, Location loc, Value ids,
                        Value lengths);
} // namespace mlir::megactx

#endif
