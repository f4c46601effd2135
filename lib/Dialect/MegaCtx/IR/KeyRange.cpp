//===- KeyRange.cpp - which keys a tile of queries can see ----------------===//

#include "megactx/Dialect/MegaCtx/IR/EmitExpr.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;
using pattern::Expr;
using pattern::Piece;

namespace {
/// Emits the range of one op; positions are those of the whole op's rows.
class RangeEmitter {
public:
  RangeEmitter(OnlineAttentionOp op, OpBuilder &builder, Location loc)
      : op(op), b(loc, builder) {}

  std::pair<Value, Value> run(Value batch, Value head, Value begin, Value end);

private:
  Value c(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value add(Value x, Value y) { return b.createOrFold<arith::AddIOp>(x, y); }
  Value sub(Value x, Value y) { return b.createOrFold<arith::SubIOp>(x, y); }
  Value min(Value x, Value y) { return b.createOrFold<arith::MinSIOp>(x, y); }
  Value max(Value x, Value y) { return b.createOrFold<arith::MaxSIOp>(x, y); }
  Value less(Value x, Value y) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y);
  }
  Value origin(unsigned i) {
    return op.getOrigin().empty() ? c(0) : op.getOrigin()[i];
  }
  Value position(Value row, int64_t step, Value offset) {
    Value scaled = b.createOrFold<arith::MulIOp>(row, c(step));
    return offset ? add(scaled, offset) : scaled;
  }
  Value dim(Value of, int64_t i) {
    return getValueOrCreateConstantIndexOp(
        b, b.getLoc(), linalg::createFoldedDimOp(b, b.getLoc(), of, i));
  }
  Value ofBatch(Value numbers, Value batch);
  Value keyEnd(Value batch);
  Value bound(ArrayRef<Expr> exprs, const ExprLeaves &leaves, bool isLower);
  Value isEmpty(const ExprLeaves &first, const ExprLeaves &last);

  OnlineAttentionOp op;
  ImplicitLocOpBuilder b;
};
} // namespace

/// The batch entry's element of a tensor or memref [B].
Value RangeEmitter::ofBatch(Value numbers, Value batch) {
  if (isa<TensorType>(numbers.getType()))
    return tensor::ExtractOp::create(b, numbers, batch);
  return memref::LoadOp::create(b, numbers, batch);
}

/// One past the last key row of the whole op that exists.
Value RangeEmitter::keyEnd(Value batch) {
  Value end = op.getOrigin().empty() ? dim(op.getKey(), 2) : op.getOrigin()[4];
  if (!op.getLengths())
    return end;
  return min(end, max(ofBatch(op.getLengths(), batch), c(0)));
}

/// The tightest bound as a key row of the whole op; null where it is open.
Value RangeEmitter::bound(ArrayRef<Expr> exprs, const ExprLeaves &leaves,
                          bool isLower) {
  Value tightest;
  for (const Expr &expr : exprs) {
    Value value = emitExpr(b, expr, leaves);
    if (tightest)
      value = isLower ? max(tightest, value) : min(tightest, value);
    tightest = value;
  }
  if (!tightest)
    return {};
  if (op.getKeyOffset())
    tightest = sub(tightest, op.getKeyOffset());
  return b.createOrFold<arith::CeilDivSIOp>(tightest, c(op.getKeyStep()));
}

/// Whether the piece has other heads or other rows; null where it has all.
Value RangeEmitter::isEmpty(const ExprLeaves &first, const ExprLeaves &last) {
  const Piece &piece = op.getPiece().getPiece();
  Value empty;
  auto either = [&](Value condition) {
    empty = empty ? arith::OrIOp::create(b, empty, condition).getResult()
                  : condition;
  };
  if (piece.heads)
    either(less(emitExpr(b, piece.heads, first), c(1)));
  if (piece.rowBegin != -Piece::kOpen)
    either(less(last.position, c(piece.rowBegin)));
  if (piece.rowEnd != Piece::kOpen)
    either(less(c(piece.rowEnd - 1), first.position));
  return empty;
}

std::pair<Value, Value> RangeEmitter::run(Value batch, Value head, Value begin,
                                          Value end) {
  const Piece &piece = op.getPiece().getPiece();
  Value rows = keyEnd(batch), firstKey = origin(3);
  auto table = [&](ArrayRef<int64_t> values) -> Value {
    return arith::ConstantOp::create(b, b.getI64TensorAttr(values));
  };
  ExprLeaves first;
  first.batch = add(batch, origin(0));
  first.head = add(head, origin(1));
  first.key = c(0);
  first.keyEnd =
      add(position(sub(rows, c(1)), op.getKeyStep(), op.getKeyOffset()), c(1));
  first.table = table;
  auto segment = [&](StringRef name, Value position) {
    Value offset = op.getKeyOffset();
    return emitSegmentBound(b, op.getSegmentBounds(), name, first.batch,
                            position, offset ? offset : c(0));
  };
  first.operand = segment;
  ExprLeaves last = first;
  Value queryOffset = op.getQueryOffset();
  if (queryOffset && !queryOffset.getType().isIndex())
    queryOffset = ofBatch(queryOffset, first.batch);
  auto rowPosition = [&](Value row) {
    return position(add(row, origin(2)), op.getQueryStep(), queryOffset);
  };
  first.position = rowPosition(begin);
  last.position = rowPosition(sub(end, c(1)));
  // Rows at positions of their own may see any key.
  if (op.getQueryPositions() || op.getKeyPositions())
    return {c(0), max(min(sub(rows, firstKey), dim(op.getKey(), 2)), c(0))};
  // Bounds ascend with the row: the first row has the lowest, the last row the
  // highest.
  Value lo = bound(piece.lo, first, /*isLower=*/true);
  Value hi = bound(piece.hi, last, /*isLower=*/false);
  hi = hi ? min(hi, rows) : rows;
  Value from = lo ? max(sub(lo, firstKey), c(0)) : c(0);
  Value to = max(min(sub(hi, firstKey), dim(op.getKey(), 2)), from);
  if (Value empty = isEmpty(first, last))
    to = arith::SelectOp::create(b, empty, from, to);
  return {from, to};
}

std::pair<Value, Value>
OnlineAttentionOp::emitKeyRange(OpBuilder &b, Location loc, Value batch,
                                Value head, Value rowBegin, Value rowEnd) {
  return RangeEmitter(*this, b, loc).run(batch, head, rowBegin, rowEnd);
}
