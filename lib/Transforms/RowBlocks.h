//===- RowBlocks.h - rows of tensors, computed a block at a time -*- C++
//-*-===//
//
// Owns which ops can give some of the rows of their results from the same rows
// of their operands, attention's queries among them, and how they do. Knows
// nothing of why rows are wanted, nor of how many at a time.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TRANSFORMS_ROWBLOCKS_H
#define MEGACTX_LIB_TRANSFORMS_ROWBLOCKS_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {

/// The ops before `rows`' owner, in its block, that are needed for nothing but
/// these rows and can be computed for a block of them at a time. A value that
/// other ops use, whose dims count as no use, or that is needed whole, such as
/// keys, is not among their results: rows of it are slices.
class RowBlocks {
public:
  /// `dim`: the one of `rows` that counts rows.
  RowBlocks(OpOperand &rows, int64_t dim);

  bool hasAttention() const;
  /// The queries of the last attention; there must be one.
  Value getQuery() const;

  /// Why an attention whose rows would be wanted is computed whole; empty where
  /// there is none.
  StringRef whyNot() const { return reason; }

  /// Emits rows [begin, begin + count) of `rows`; blocks are independent.
  Value emit(ImplicitLocOpBuilder &b, Value begin, Value count);

  /// The size of a value, `rows` or one it is made of, without using it.
  OpFoldResult sizeOf(ImplicitLocOpBuilder &b, Value value, int64_t dim);

  /// Replaces what asks for dims, and erases the ops; nothing else uses them.
  void erase(RewriterBase &rewriter);

private:
  using Operands = SmallVector<std::pair<OpOperand *, int64_t>>;

  void add(Operation *op);
  std::optional<Operands> rowOperands(Operation *op);
  std::optional<Operands> rowOperands(linalg::LinalgOp op);
  Value rowsOf(Value value, int64_t dim);
  Value sliceOf(Value value, int64_t dim);
  Value emptyOf(Value value, int64_t dim);
  void compute(Operation *op);
  Value moved(Value offset, Value shift);
  void compute(FusedAttentionOp op);
  void compute(linalg::LinalgOp op);
  Value blockOfBias(Value bias);

  OpOperand &rows;
  int64_t dim;
  SmallVector<Operation *> ops;    ///< the last one first
  DenseSet<Operation *> members;   ///< the same
  DenseMap<Value, int64_t> rowDim; ///< of what ops want rows of
  DenseSet<OpOperand *> uses;      ///< that want rows
  std::string reason;

  // While a block is emitted.
  ImplicitLocOpBuilder *b = nullptr;
  Value begin, count;
  DenseMap<std::pair<Value, int64_t>, Value> emitted;
};

} // namespace mlir::megactx

#endif
