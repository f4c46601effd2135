//===- Decomposition.cpp - links of attention as linalg -------------------===//
//
// The compiled reference: every piece is a condition that is evaluated per
// element of the matrix of scores. Slow, right, for every target.
//
//===----------------------------------------------------------------------===//

#include "Emit.h"
#include "Softmax.h"
#include "megactx/Dialect/MegaCtx/IR/EmitExpr.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// Emits the decomposition of one op: dims 0 to 3 are batch, head, query row
/// and key row.
class Decomposer {
public:
  Decomposer(OnlineAttentionOp op, OpBuilder &builder)
      : op(op), b(op.getLoc(), builder) {}

  SmallVector<Value> run();

private:
  Value dim(Value of, int64_t i) { return b.dim(of, i); }
  Value headPerQuery(Value rows);
  Value scores();
  Value masked(Value scores);
  Value score(Emitter &in, Value product, ValueRange at);
  Value holds(Emitter &in, ValueRange at);
  Value table(ArrayRef<int64_t> values);
  /// The index value of an optional offset.
  Value orZero(Value offset) { return offset ? offset : b.index(0); }
  Value origin(unsigned i) {
    return op.getOrigin().empty() ? b.index(0) : op.getOrigin()[i];
  }

  OnlineAttentionOp op;
  Emitter b;
  Value queryOffset, keyOffset, keyRows;
  SmallVector<Value> begin;
  SmallVector<SmallVector<Value>> biasSizes; ///< of each bias
  OpBuilder::InsertPoint outside;
};
} // namespace

/// Keys or values with a head for each query head.
Value Decomposer::headPerQuery(Value rows) {
  auto type = cast<RankedTensorType>(rows.getType());
  auto query = cast<RankedTensorType>(op.getQuery().getType());
  if (!type.isDynamicDim(1) && type.getDimSize(1) == query.getDimSize(1))
    return rows;
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), rows);
  sizes[1] = tensor::getMixedSize(b, b.getLoc(), op.getQuery(), 1);
  Value one = b.index(1);
  Value keyHeads = arith::MaxSIOp::create(b, dim(rows, 1), one);
  Value group = arith::MaxSIOp::create(
      b, arith::DivUIOp::create(b, dim(op.getQuery(), 1), keyHeads), one);
  Value empty = tensor::EmptyOp::create(b, sizes, type.getElementType());
  return emitGeneric(b, {}, empty, {{0, 1, 2, 3}},
                     [&](Emitter &in, ValueRange) -> Value {
                       SmallVector<Value> at;
                       for (int64_t i = 0; i < 4; ++i)
                         at.push_back(linalg::IndexOp::create(in, i));
                       at[1] = arith::DivUIOp::create(in, at[1], group);
                       return tensor::ExtractOp::create(in, rows, at);
                     });
}

Value Decomposer::scores() {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, b.getLoc(), op.getQuery());
  sizes[3] = tensor::getMixedSize(b, b.getLoc(), op.getKey(), 2);
  Value zero =
      linalg::FillOp::create(
          b, emitFloat(b, 0.0f),
          tensor::EmptyOp::create(b, sizes, b.getF32Type()).getResult())
          .getResult(0);
  return emitGeneric(b, {op.getQuery(), headPerQuery(op.getKey())}, zero,
                     {{0, 1, 2, 4}, {0, 1, 3, 4}, {0, 1, 2, 3}},
                     [](Emitter &in, ValueRange x) -> Value {
                       Value product = arith::MulFOp::create(in, in.toF32(x[0]),
                                                             in.toF32(x[1]));
                       return arith::AddFOp::create(in, x[2], product);
                     });
}

/// softcap(scale * product) + biases.
Value Decomposer::score(Emitter &in, Value product, ValueRange at) {
  Value score = arith::MulFOp::create(
      in, product, emitFloat(in, op.getScale().convertToFloat()));
  if (op.getSoftcap()) {
    Value cap = emitFloat(in, op.getSoftcap()->convertToFloat());
    Value ratio = arith::DivFOp::create(in, score, cap);
    score = arith::MulFOp::create(in, math::TanhOp::create(in, ratio), cap);
  }
  for (auto [bias, sizes] : llvm::zip_equal(op.getBiases(), biasSizes)) {
    SmallVector<Value> where;
    for (auto [i, size] : llvm::zip_equal(at, sizes)) {
      Value last = arith::SubIOp::create(in, size, in.index(1));
      // A dim of 1 is broadcast.
      where.push_back(arith::MinSIOp::create(in, i, last));
    }
    score = arith::AddFOp::create(in, score,
                                  tensor::ExtractOp::create(in, bias, where));
  }
  return score;
}

/// A constant table as a tensor, before the op whose body reads it.
Value Decomposer::table(ArrayRef<int64_t> values) {
  OpBuilder::InsertionGuard guard(b);
  b.restoreInsertionPoint(outside);
  return arith::ConstantOp::create(b, b.getI64TensorAttr(values));
}

/// Whether the key exists and the piece holds, i1.
Value Decomposer::holds(Emitter &in, ValueRange at) {
  auto add = [&](Value x, Value y) -> Value {
    return arith::AddIOp::create(in, x, y);
  };
  Value batch = add(at[0], begin[0]);
  auto position = [&](Value row, int64_t step, Value offset,
                      Value positions) -> Value {
    if (positions)
      return in.extract(positions, {batch, row});
    if (isa<TensorType>(offset.getType()))
      offset = in.extract(offset, batch);
    return add(arith::MulIOp::create(in, row, in.index(step)), offset);
  };
  auto keyPosition = [&](Value row) {
    return position(row, op.getKeyStep(), keyOffset, op.getKeyPositions());
  };
  Value end = keyRows;
  if (op.getLengths()) {
    Value length = tensor::ExtractOp::create(in, op.getLengths(), at[0]);
    length = arith::MaxSIOp::create(in, length, in.index(0));
    end = arith::MinSIOp::create(in, end, length);
  }
  Value keyRow = add(at[3], begin[3]);
  Value exists =
      arith::CmpIOp::create(in, arith::CmpIPredicate::slt, keyRow, end);
  ExprLeaves leaves;
  leaves.batch = batch;
  leaves.head = add(at[1], begin[1]);
  leaves.position = position(add(at[2], begin[2]), op.getQueryStep(),
                             queryOffset, op.getQueryPositions());
  leaves.key = keyPosition(keyRow);
  Value last = arith::SubIOp::create(in, end, in.index(1));
  // Without any key there is no last one to look up, and nothing to see.
  if (op.getKeyPositions())
    last = in.max(last, in.index(0));
  leaves.keyEnd = add(keyPosition(last), in.index(1));
  auto table = [&](ArrayRef<int64_t> values) { return this->table(values); };
  leaves.table = table;
  auto segment = [&](StringRef name, Value position) {
    return emitSegmentBound(in, op.getSegmentBounds(), name, batch, position,
                            keyOffset);
  };
  leaves.operand = segment;
  Value truth = emitExpr(in, op.getPiece().getPiece().condition(), leaves);
  Value condition =
      arith::CmpIOp::create(in, arith::CmpIPredicate::ne, truth, in.index(0));
  return arith::AndIOp::create(in, exists, condition);
}

/// The scores, minus infinity where the piece does not hold.
Value Decomposer::masked(Value scores) {
  queryOffset = orZero(op.getQueryOffset());
  keyOffset = orZero(op.getKeyOffset());
  for (unsigned i = 0; i < 4; ++i)
    begin.push_back(origin(i));
  keyRows = op.getOrigin().empty() ? dim(op.getKey(), 2) : op.getOrigin()[4];
  for (Value bias : op.getBiases()) {
    SmallVector<Value> &sizes = biasSizes.emplace_back();
    for (int64_t i = 0; i < 4; ++i)
      sizes.push_back(dim(bias, i));
  }
  outside = b.saveInsertionPoint();
  return emitGeneric(
      b, {}, scores, {{0, 1, 2, 3}}, [&](Emitter &in, ValueRange x) -> Value {
        SmallVector<Value> at;
        for (int64_t i = 0; i < 4; ++i)
          at.push_back(linalg::IndexOp::create(in, i));
        Value visible = holds(in, at);
        return arith::SelectOp::create(in, visible, score(in, x[0], at),
                                       emitFloat(in, -kInfinity));
      });
}

SmallVector<Value> Decomposer::run() {
  const SmallVector<int64_t> all = {0, 1, 2, 3}, row = {0, 1, 2};
  Value s = masked(scores());
  Value max = emitGeneric(b, s, op.getMax(), {all, row},
                          [](Emitter &in, ValueRange x) -> Value {
                            return arith::MaximumFOp::create(in, x[0], x[1]);
                          });
  Value p = emitGeneric(b, max, s, {row, all}, [](Emitter &in, ValueRange x) {
    return emitWeight(in, x[1], x[0]);
  });
  auto decayed = [&](Value state, const SmallVector<int64_t> &map) {
    return emitGeneric(b, {op.getMax(), max}, state, {row, row, map},
                       [](Emitter &in, ValueRange x) -> Value {
                         return arith::MulFOp::create(
                             in, x[2], emitWeight(in, x[0], x[1]));
                       });
  };
  Value sum = emitGeneric(b, p, decayed(op.getSum(), row), {all, row},
                          [](Emitter &in, ValueRange x) -> Value {
                            return arith::AddFOp::create(in, x[1], x[0]);
                          });
  // Dim 3 is a value's column where keys are no dim, else dim 4 is.
  Value acc = emitGeneric(
      b, {p, headPerQuery(op.getValue())}, decayed(op.getAcc(), all),
      {{0, 1, 2, 4}, {0, 1, 4, 3}, {0, 1, 2, 3}},
      [](Emitter &in, ValueRange x) -> Value {
        Value product = arith::MulFOp::create(in, x[0], in.toF32(x[1]));
        return arith::AddFOp::create(in, x[2], product);
      });
  return {acc, max, sum};
}

FailureOr<SmallVector<Value>>
OnlineAttentionOp::decomposeOperation(OpBuilder &builder) {
  if (!hasPureTensorSemantics())
    return failure();
  return Decomposer(*this, builder).run();
}

FailureOr<SmallVector<Value>>
FinishAttentionOp::decomposeOperation(OpBuilder &builder) {
  if (!hasPureTensorSemantics())
    return failure();
  Emitter b(getLoc(), builder);
  const SmallVector<int64_t> all = {0, 1, 2, 3}, row = {0, 1, 2};
  auto isNone = [](Emitter &in, Value sum) -> Value {
    return arith::CmpFOp::create(in, arith::CmpFPredicate::OEQ, sum,
                                 emitFloat(in, 0.0f));
  };
  Value out =
      emitGeneric(b, {getAcc(), getSum()}, getOut(), {all, row, all},
                  [&](Emitter &in, ValueRange x) -> Value {
                    Value mean = arith::DivFOp::create(in, x[0], x[1]);
                    Value value = arith::SelectOp::create(
                        in, isNone(in, x[1]), emitFloat(in, 0.0f), mean);
                    if (x[2].getType().isF32())
                      return value;
                    return arith::TruncFOp::create(in, x[2].getType(), value);
                  });
  Value lse = emitGeneric(
      b, {getMax(), getSum()}, getLse(), {row, row, row},
      [&](Emitter &in, ValueRange x) -> Value {
        Value total =
            arith::AddFOp::create(in, x[0], math::LogOp::create(in, x[1]));
        return arith::SelectOp::create(in, isNone(in, x[1]),
                                       emitFloat(in, -kInfinity), total);
      });
  return SmallVector<Value>{out, lse};
}
