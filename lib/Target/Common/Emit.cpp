//===- Emit.cpp - index arithmetic of kernels in few words ----------------===//

#include "Emit.h"
#include "megactx/Dialect/MegaCtx/IR/EmitExpr.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

Value Arith::c(int64_t value) const {
  return arith::ConstantIndexOp::create(b, value);
}
Value Arith::add(Value x, Value y) const {
  return arith::AddIOp::create(b, x, y);
}
Value Arith::sub(Value x, Value y) const {
  return arith::SubIOp::create(b, x, y);
}
Value Arith::mul(Value x, Value y) const {
  return arith::MulIOp::create(b, x, y);
}
Value Arith::min(Value x, Value y) const {
  return arith::MinSIOp::create(b, x, y);
}
Value Arith::max(Value x, Value y) const {
  return arith::MaxSIOp::create(b, x, y);
}
Value Arith::div(Value x, Value y) const {
  return arith::DivUIOp::create(b, x, y);
}
Value Arith::rem(Value x, Value y) const {
  return arith::RemUIOp::create(b, x, y);
}
Value Arith::ceilDiv(Value x, Value y) const {
  return emitFloorDiv(b, add(x, sub(y, c(1))), y);
}
std::pair<Value, Value> Arith::divRem32(Value x, Value y) const {
  auto wide = [&](Value v) -> Value {
    return arith::IndexCastUIOp::create(b, b.getIndexType(), v);
  };
  Value n = arith::IndexCastOp::create(b, b.getI32Type(), x),
        d = arith::IndexCastOp::create(b, b.getI32Type(), y);
  Value quotient = arith::DivUIOp::create(b, n, d);
  Value product = arith::MulIOp::create(b, quotient, d);
  return {wide(quotient), wide(arith::SubIOp::create(b, n, product))};
}
Value Arith::lt(Value x, Value y) const {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y);
}
Value Arith::le(Value x, Value y) const {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::sle, x, y);
}
Value Arith::eq(Value x, Value y) const {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, y);
}
Value Arith::bitXor(Value x, Value y) const {
  return arith::XOrIOp::create(b, x, y);
}
Value Arith::both(Value x, Value y) const {
  return arith::AndIOp::create(b, x, y);
}
Value Arith::select(Value cond, Value x, Value y) const {
  return arith::SelectOp::create(b, cond, x, y);
}
Value Arith::f32(float value) const {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
}
Value Arith::fmax(Value x, Value y) const {
  // One instruction; math's maximum spends more on NaNs and signs of zero.
  Value greater = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y);
  return select(greater, x, y);
}
Value Arith::splat(float value, VectorType type) const {
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, value));
}

SmallVector<Value> mlir::megactx::emitFor(ImplicitLocOpBuilder &b, Value lo,
                                          Value hi, int64_t step,
                                          ValueRange init, LoopBody body) {
  Value by = arith::ConstantIndexOp::create(b, step);
  auto loop = scf::ForOp::create(
      b, lo, hi, by, init,
      [&](OpBuilder &, Location loc, Value i, ValueRange carried) {
        scf::YieldOp::create(b, body(i, carried));
      });
  return SmallVector<Value>(loop.getResults());
}

SmallVector<Value>
mlir::megactx::emitUnrolledFor(ImplicitLocOpBuilder &b, Value lo, Value hi,
                               int64_t factor, ValueRange init, LoopBody body) {
  Arith a{b};
  Value rest = a.sub(hi, a.rem(a.sub(hi, lo), a.c(factor)));
  SmallVector<Value> carried =
      emitFor(b, lo, rest, factor, init,
              [&](Value i, ValueRange so) -> SmallVector<Value> {
                SmallVector<Value> next(so);
                for (int64_t turn = 0; turn < factor; ++turn)
                  next = body(turn ? a.add(i, a.c(turn)) : i, next);
                return next;
              });
  return emitFor(b, rest, hi, 1, carried, body);
}

void mlir::megactx::emitFor(ImplicitLocOpBuilder &b, Value lo, Value hi,
                            int64_t step, function_ref<void(Value)> body) {
  emitFor(b, lo, hi, step, ValueRange(),
          [&](Value i, ValueRange) -> SmallVector<Value> {
            body(i);
            return {};
          });
}

void mlir::megactx::emitIf(ImplicitLocOpBuilder &b, Value condition,
                           function_ref<void()> then,
                           function_ref<void()> otherwise) {
  auto branch = [&](function_ref<void()> body) {
    return [&b, body](OpBuilder &, Location) {
      body();
      scf::YieldOp::create(b);
    };
  };
  auto first = branch(then), second = branch(otherwise);
  if (otherwise)
    scf::IfOp::create(b, condition, first, second);
  else
    scf::IfOp::create(b, condition, first);
}

Value mlir::megactx::emitFirstNot(ImplicitLocOpBuilder &b, Value begin,
                                  Value end, function_ref<Value(Value)> holds) {
  Arith a{b};
  Type index = b.getIndexType();
  auto loop = scf::WhileOp::create(
      b, TypeRange{index, index}, ValueRange{begin, end},
      [&](OpBuilder &, Location, ValueRange range) {
        scf::ConditionOp::create(b, a.lt(range[0], range[1]), range);
      },
      [&](OpBuilder &, Location, ValueRange range) {
        Value left = a.sub(range[1], range[0]);
        Value middle = a.add(range[0], a.div(left, a.c(2)));
        Value isBefore = holds(middle);
        Value next = a.add(middle, a.c(1));
        scf::YieldOp::create(b,
                             ValueRange{a.select(isBefore, next, range[0]),
                                        a.select(isBefore, range[1], middle)});
      });
  return loop.getResult(0);
}

Value mlir::megactx::emitGlobalTable(ImplicitLocOpBuilder &b, Operation *module,
                                     ArrayRef<int64_t> values) {
  auto tensor = RankedTensorType::get({int64_t(values.size())}, b.getI64Type());
  auto data = DenseElementsAttr::get(tensor, values);
  auto type = MemRefType::get(tensor.getShape(), b.getI64Type());
  Block &body = module->getRegion(0).front();
  StringAttr name;
  for (auto global : body.getOps<memref::GlobalOp>())
    if (global.getInitialValueAttr() == data)
      name = global.getSymNameAttr();
  if (!name) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&body);
    unsigned number = 0;
    std::string fresh;
    do
      fresh = "mctx_table_" + std::to_string(number++);
    while (SymbolTable::lookupSymbolIn(module, fresh));
    name = b.getStringAttr(fresh);
    memref::GlobalOp::create(b, name, b.getStringAttr("private"), type, data,
                             /*constant=*/true, IntegerAttr());
  }
  return memref::GetGlobalOp::create(b, type, name.getValue());
}

Value mlir::megactx::loadTable(ImplicitLocOpBuilder &b, Value table, Value at) {
  return arith::IndexCastOp::create(b, b.getIndexType(),
                                    memref::LoadOp::create(b, table, at));
}
