//===- EmitExpr.cpp - pattern expressions as arith ops --------------------===//

#include "megactx/Dialect/MegaCtx/IR/EmitExpr.h"
#include "megactx/Pattern/SegmentBounds.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;
using megactx::pattern::Expr;

static Value constant(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

Value mlir::megactx::emitFloorDiv(ImplicitLocOpBuilder &b, Value a,
                                  Value divisor) {
  return arith::FloorDivSIOp::create(b, a, divisor);
}

Value mlir::megactx::emitFloorMod(ImplicitLocOpBuilder &b, Value a,
                                  Value divisor) {
  Value product =
      arith::MulIOp::create(b, emitFloorDiv(b, a, divisor), divisor);
  return arith::SubIOp::create(b, a, product);
}

static Value truth(ImplicitLocOpBuilder &b, arith::CmpIPredicate predicate,
                   Value x, Value y) {
  Value bit = arith::CmpIOp::create(b, predicate, x, y);
  return arith::IndexCastUIOp::create(b, b.getIndexType(), bit);
}

/// The 32-bit mix that pattern::hashPair documents.
static Value emitHash(ImplicitLocOpBuilder &b, int64_t seed, Value x, Value y) {
  Type i32 = b.getI32Type();
  auto word = [&](uint32_t value) -> Value {
    return arith::ConstantOp::create(
        b, b.getI32IntegerAttr(static_cast<int32_t>(value)));
  };
  auto mul = [&](Value v, uint32_t factor) -> Value {
    return arith::MulIOp::create(b, v, word(factor));
  };
  auto fold = [&](Value v, uint32_t shift) -> Value {
    Value shifted = arith::ShRUIOp::create(b, v, word(shift));
    return arith::XOrIOp::create(b, v, shifted);
  };
  Value a = mul(arith::IndexCastOp::create(b, i32, x), 0x9E3779B1u);
  Value c = mul(arith::IndexCastOp::create(b, i32, y), 0x85EBCA77u);
  Value h = arith::XOrIOp::create(b, word(static_cast<uint32_t>(seed)), a);
  h = arith::XOrIOp::create(b, h, c);
  h = mul(fold(h, 16), 0x85EBCA6Bu);
  h = mul(fold(h, 13), 0xC2B2AE35u);
  h = arith::ShRUIOp::create(b, fold(h, 16), word(1));
  return arith::IndexCastUIOp::create(b, b.getIndexType(), h);
}

/// An entry of a table, which is a memref or a tensor.
static Value loadEntry(ImplicitLocOpBuilder &b, Value table, Value at) {
  Value entry = isa<TensorType>(table.getType())
                    ? Value(tensor::ExtractOp::create(b, table, at))
                    : Value(memref::LoadOp::create(b, table, at));
  return arith::IndexCastOp::create(b, b.getIndexType(), entry);
}

static Value emitTable(ImplicitLocOpBuilder &b, Value table, Value index,
                       int64_t size) {
  Value zero = constant(b, 0), last = constant(b, size - 1);
  Value low = arith::MaxSIOp::create(b, index, zero);
  Value inside = arith::MinSIOp::create(b, low, last);
  Value entry = loadEntry(b, table, inside);
  Value ok = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, inside, index);
  return arith::SelectOp::create(b, ok, entry, zero);
}

/// Whether x is in a sorted table: a few comparisons, or a search by halves.
static Value emitIn(ImplicitLocOpBuilder &b, Value x, const Expr &expr,
                    const ExprLeaves &leaves) {
  ArrayRef<int64_t> values = expr.table();
  if (values.size() <= 16) {
    Value any = constant(b, 0);
    for (int64_t value : values)
      any = arith::OrIOp::create(
          b, any, truth(b, arith::CmpIPredicate::eq, x, constant(b, value)));
    return any;
  }
  Value table = leaves.table(values);
  // The number of entries at most x, found by halves; the last of them is x.
  int64_t step = 1;
  while (step * 2 <= static_cast<int64_t>(values.size()))
    step *= 2;
  Value size = constant(b, values.size()), at = constant(b, 0);
  for (; step > 0; step /= 2) {
    Value next = arith::AddIOp::create(b, at, constant(b, step));
    Value fits =
        arith::CmpIOp::create(b, arith::CmpIPredicate::sle, next, size);
    Value probe = arith::SubIOp::create(
        b, arith::MinSIOp::create(b, next, size), constant(b, 1));
    Value entry = loadEntry(b, table, probe);
    Value below = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, entry, x);
    Value take = arith::AndIOp::create(b, fits, below);
    at = arith::SelectOp::create(b, take, next, at);
  }
  Value probe = arith::MaxSIOp::create(
      b, arith::SubIOp::create(b, at, constant(b, 1)), constant(b, 0));
  Value entry = loadEntry(b, table, probe);
  return truth(b, arith::CmpIPredicate::eq, entry, x);
}

Value mlir::megactx::emitSegmentBound(ImplicitLocOpBuilder &b, Value bounds,
                                      llvm::StringRef name, Value batch,
                                      Value position, Value keyOffset) {
  bool isTensor = isa<TensorType>(bounds.getType());
  Value one = constant(b, 1);
  Value rows = isTensor ? tensor::DimOp::create(b, bounds, one).getResult()
                        : memref::DimOp::create(b, bounds, one).getResult();
  Value row = arith::SubIOp::create(b, position, keyOffset);
  row = arith::MinSIOp::create(b, row, arith::SubIOp::create(b, rows, one));
  row = arith::MaxSIOp::create(b, row, constant(b, 0));
  Value at[] = {batch, row, constant(b, name == pattern::kSegmentEnd)};
  Value bound = isTensor ? tensor::ExtractOp::create(b, bounds, at).getResult()
                         : memref::LoadOp::create(b, bounds, at).getResult();
  return arith::AddIOp::create(b, bound, keyOffset);
}

Value mlir::megactx::emitExpr(ImplicitLocOpBuilder &b, const Expr &expr,
                              const ExprLeaves &leaves) {
  using Kind = Expr::Kind;
  auto arg = [&](unsigned i) { return emitExpr(b, expr.args()[i], leaves); };
  Value one = constant(b, 1);
  auto positive = [&](Value v) -> Value {
    return arith::MaxSIOp::create(b, v, one);
  };
  switch (expr.kind()) {
  case Kind::Constant:
    return constant(b, expr.value());
  case Kind::Position:
    return leaves.position;
  case Kind::Key:
    return leaves.key;
  case Kind::Head:
    return leaves.head;
  case Kind::Batch:
    return leaves.batch;
  case Kind::Symbol:
    return leaves.keyEnd;
  case Kind::Operand:
    return leaves.operand(expr.name(), arg(0));
  case Kind::Add:
    return arith::AddIOp::create(b, arg(0), arg(1));
  case Kind::Mul:
    return arith::MulIOp::create(b, arg(0), constant(b, expr.value()));
  case Kind::MulExpr:
    return arith::MulIOp::create(b, arg(0), arg(1));
  case Kind::FloorDiv:
    return emitFloorDiv(b, arg(0), constant(b, expr.value()));
  case Kind::Mod:
    return emitFloorMod(b, arg(0), constant(b, expr.value()));
  case Kind::DivExpr:
    return emitFloorDiv(b, arg(0), positive(arg(1)));
  case Kind::ModExpr:
    return emitFloorMod(b, arg(0), positive(arg(1)));
  case Kind::Min:
    return arith::MinSIOp::create(b, arg(0), arg(1));
  case Kind::Max:
    return arith::MaxSIOp::create(b, arg(0), arg(1));
  case Kind::Equal:
    return truth(b, arith::CmpIPredicate::eq, arg(0), arg(1));
  case Kind::Less:
    return truth(b, arith::CmpIPredicate::slt, arg(0), arg(1));
  case Kind::And:
    return arith::AndIOp::create(b, arg(0), arg(1));
  case Kind::Or:
    return arith::OrIOp::create(b, arg(0), arg(1));
  case Kind::Not:
    return arith::XOrIOp::create(b, arg(0), one);
  case Kind::Hash:
    return emitHash(b, expr.value(), arg(0), arg(1));
  case Kind::Table:
    return emitTable(b, leaves.table(expr.table()), arg(0),
                     expr.table().size());
  case Kind::In:
    return emitIn(b, arg(0), expr, leaves);
  }
  llvm_unreachable("every kind is handled above");
}
