//===- EmitExpr.h - pattern expressions as arith ops ------------*- C++ -*-===//

#ifndef MEGACTX_DIALECT_MEGACTX_IR_EMITEXPR_H
#define MEGACTX_DIALECT_MEGACTX_IR_EMITEXPR_H

#include "megactx/Pattern/Expr.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlir::megactx {

/// What the leaves of an expression are, as index values. `keyEnd` is the
/// symbol nk: one past the last key position.
struct ExprLeaves {
  Value position, key, head, batch, keyEnd;
  /// Makes a constant table readable: a memref or tensor of rank 1 of integers
  /// or indices, in scope.
  llvm::function_ref<Value(llvm::ArrayRef<int64_t>)> table;
  /// A value that a source holds per row, by name, at a position.
  llvm::function_ref<Value(llvm::StringRef, Value)> operand;
};

/// The value of an expression, an index; truth values are 0 and 1.
Value emitExpr(ImplicitLocOpBuilder &b, const pattern::Expr &expr,
               const ExprLeaves &leaves);

/// The value of the operand `segment_begin` or `segment_end` at a position, a
/// position too: `bounds` [B, Nk + 1, 2] are the rows of
/// `megactx.online_attention`, a tensor or memref; key rows begin at keyOffset.
Value emitSegmentBound(ImplicitLocOpBuilder &b, Value bounds,
                       llvm::StringRef name, Value batch, Value position,
                       Value keyOffset);

/// floor(a / divisor), a - divisor * floor(a / divisor) for divisor > 0.
Value emitFloorDiv(ImplicitLocOpBuilder &b, Value a, Value divisor);
Value emitFloorMod(ImplicitLocOpBuilder &b, Value a, Value divisor);

} // namespace mlir::megactx

#endif
