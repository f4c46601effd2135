//===- Decomposition.cpp - links of attention as linalg -------------------===//
//
// The compiled reference: every piece is a condition that is evaluated per
// element of the matrix of scores. Slow, right, for every target.
//
//===----------------------------------------------------------------------===//

#include "Scores.h"
#include "Softmax.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace mlir::megactx;

FailureOr<SmallVector<Value>>
OnlineAttentionOp::decomposeOperation(OpBuilder &builder) {
  if (!hasPureTensorSemantics())
    return failure();
  Emitter b(getLoc(), builder);
  LinkScores scores(*this, getOrigin(), b);
  const SmallVector<int64_t> all = {0, 1, 2, 3}, row = {0, 1, 2};
  Value s = scores.masked(scores.products());
  Value max = emitGeneric(b, s, getMax(), {all, row},
                          [](Emitter &in, ValueRange x) -> Value {
                            return arith::MaximumFOp::create(in, x[0], x[1]);
                          });
  Value p = emitGeneric(b, max, s, {row, all}, [](Emitter &in, ValueRange x) {
    return emitWeight(in, x[1], x[0]);
  });
  auto decayed = [&](Value state, const SmallVector<int64_t> &map) {
    return emitGeneric(b, {getMax(), max}, state, {row, row, map},
                       [](Emitter &in, ValueRange x) -> Value {
                         return arith::MulFOp::create(
                             in, x[2], emitWeight(in, x[0], x[1]));
                       });
  };
  Value sum = emitGeneric(b, p, decayed(getSum(), row), {all, row},
                          [](Emitter &in, ValueRange x) -> Value {
                            return arith::AddFOp::create(in, x[1], x[0]);
                          });
  // Dim 3 is a value's column where keys are no dim, else dim 4 is.
  Value acc = emitGeneric(b, {p, scores.headPerQuery(getValue())},
                          decayed(getAcc(), all),
                          {{0, 1, 2, 4}, {0, 1, 4, 3}, {0, 1, 2, 3}},
                          [](Emitter &in, ValueRange x) -> Value {
                            return in.addWeighted(x[2], x[0], in.toF32(x[1]));
                          });
  return SmallVector<Value>{acc, max, sum};
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
