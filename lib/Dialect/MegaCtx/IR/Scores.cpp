//===- Scores.cpp - the matrix of scores of a link of attention -----------===//

#include "Scores.h"
#include "Softmax.h"
#include "megactx/Dialect/MegaCtx/IR/EmitExpr.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace mlir::megactx;

Value LinkScores::scale(Emitter &in) {
  return emitFloat(in, op.getScale().convertToFloat());
}

/// Keys or values with a head for each query head.
Value LinkScores::headPerQuery(Value rows) {
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

Value LinkScores::products() {
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

/// tanh(scale * product / softcap).
Value LinkScores::capped(Emitter &in, Value product) {
  Value score = arith::MulFOp::create(in, product, scale(in));
  Value cap = emitFloat(in, op.getSoftcap()->convertToFloat());
  return math::TanhOp::create(in, arith::DivFOp::create(in, score, cap));
}

Value LinkScores::slope(Emitter &in, Value product) {
  if (!op.getSoftcap())
    return scale(in);
  Value t = capped(in, product);
  Value rest = arith::SubFOp::create(in, emitFloat(in, 1.0f),
                                     arith::MulFOp::create(in, t, t));
  return arith::MulFOp::create(in, scale(in), rest);
}

/// softcap(scale * product) + biases.
Value LinkScores::score(Emitter &in, Value product, ValueRange at) {
  Value score;
  if (op.getSoftcap())
    score =
        arith::MulFOp::create(in, capped(in, product),
                              emitFloat(in, op.getSoftcap()->convertToFloat()));
  else
    score = arith::MulFOp::create(in, product, scale(in));
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
Value LinkScores::table(ArrayRef<int64_t> values) {
  OpBuilder::InsertionGuard guard(b);
  b.restoreInsertionPoint(outside);
  return arith::ConstantOp::create(b, b.getI64TensorAttr(values));
}

/// Whether the key exists and the piece holds, i1.
Value LinkScores::holds(Emitter &in, ValueRange at) {
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
  Value truth = emitExpr(in, op.getPieceList().front().condition(), leaves);
  Value condition =
      arith::CmpIOp::create(in, arith::CmpIPredicate::ne, truth, in.index(0));
  return arith::AndIOp::create(in, exists, condition);
}

Value LinkScores::masked(Value products) {
  queryOffset = orZero(op.getQueryOffset());
  keyOffset = orZero(op.getKeyOffset());
  for (unsigned i = 0; i < 4; ++i)
    begin.push_back(origin.empty() ? b.index(0) : origin[i]);
  keyRows = origin.empty() ? dim(op.getKey(), 2) : origin[4];
  for (Value bias : op.getBiases()) {
    SmallVector<Value> &sizes = biasSizes.emplace_back();
    for (int64_t i = 0; i < 4; ++i)
      sizes.push_back(dim(bias, i));
  }
  outside = b.saveInsertionPoint();
  return emitGeneric(
      b, {}, products, {{0, 1, 2, 3}}, [&](Emitter &in, ValueRange x) -> Value {
        SmallVector<Value> at;
        for (int64_t i = 0; i < 4; ++i)
          at.push_back(linalg::IndexOp::create(in, i));
        Value visible = holds(in, at);
        return arith::SelectOp::create(in, visible, score(in, x[0], at),
                                       emitFloat(in, -kInfinity));
      });
}
