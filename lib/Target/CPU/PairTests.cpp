//===- PairTests.cpp - what a piece's test says of pairs ------------------===//

#include "PairTests.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;
using pattern::Expr;

static Expr::Kind leafOf(bool isQuery) {
  return isQuery ? Expr::Kind::Position : Expr::Kind::Key;
}

Value PairTests::positionOf(Value number, bool isQuery) const {
  return isQuery ? views.positionOf(number) : views.positionOfKey(number);
}

/// Each lane for itself; where blocks are of several positions, lanes of the
/// same block as the one before say what that says.
void PairTests::ask(Value row, Value lane, Value end) const {
  Arith a{b};
  Value other =
      positionOf(memref::LoadOp::create(b, ofRow, row), !lanesAreQueries);
  auto holdsAt = [&](Value position) -> Value {
    ExprLeaves leaves = views.leaves(lanesAreQueries ? position : other);
    leaves.key = lanesAreQueries ? other : position;
    return arith::IndexCastOp::create(b, b.getI32Type(),
                                      emitExpr(b, test, leaves));
  };
  int64_t size = pattern::blockOf(test, leafOf(lanesAreQueries));
  Value noBlock = a.c(INT64_MIN), none = arith::ConstantIntOp::create(b, 0, 32);
  emitFor(b, lane, end, 1, {noBlock, none},
          [&](Value lane, ValueRange so) -> SmallVector<Value> {
            Value position = positionOf(memref::LoadOp::create(b, ofLane, lane),
                                        lanesAreQueries);
            Value block = so[0], holds;
            if (size == 1) {
              holds = holdsAt(position);
            } else {
              block = emitFloorDiv(b, position, a.c(size));
              Value isSame = a.eq(block, so[0]);
              holds = scf::IfOp::create(
                          b, isSame,
                          [&](OpBuilder &, Location) {
                            scf::YieldOp::create(b, so[1]);
                          },
                          [&](OpBuilder &, Location) {
                            scf::YieldOp::create(b, holdsAt(position));
                          })
                          .getResult(0);
            }
            memref::StoreOp::create(b, holds, allowed, ValueRange{row, lane});
            return {block, holds};
          });
}

void PairTests::fill(Value row, Value first, Value lane,
                     int64_t vectors) const {
  Arith a{b};
  Value end = a.add(lane, a.c(vectors * width));
  int64_t size = pattern::blockOf(test, leafOf(!lanesAreQueries));
  if (size == 1)
    return ask(row, lane, end);
  Value before = a.max(a.sub(row, a.c(1)), first);
  auto blockAt = [&](Value row) {
    Value number = memref::LoadOp::create(b, ofRow, row);
    return emitFloorDiv(b, positionOf(number, !lanesAreQueries), a.c(size));
  };
  Value isSame = a.both(a.lt(first, row), a.eq(blockAt(before), blockAt(row)));
  auto ints = VectorType::get({width}, b.getI32Type());
  emitIf(
      b, isSame,
      [&] {
        for (int64_t g = 0; g < vectors; ++g) {
          Value from = a.add(lane, a.c(g * width));
          Value values = vector::LoadOp::create(b, ints, allowed,
                                                ValueRange{before, from});
          vector::StoreOp::create(b, values, allowed, ValueRange{row, from});
        }
      },
      [&] { ask(row, lane, end); });
}
