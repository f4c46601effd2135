//===- Results.cpp - rows out of a block's registers ----------------------===//

#include "Results.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

void Results::store(const State &state, Fragments &fragments,
                    const KernelArguments &arguments,
                    const PartArguments &parts) {
  Value sums = fragments.overRow(state.sum, false);
  std::array<Result, 2> found;
  for (int64_t i = 0; i < 2; ++i) {
    auto at = [&](Value ofRows) -> Value {
      return vector::ExtractOp::create(b, ofRows, i);
    };
    found[i] = normalised(at(state.max), at(sums));
  }
  auto whole = [&] {
    std::array<Result, 2> merged = found;
    if (shape.accumulate) {
      // Four lanes of a warp read a row's old value before one writes the new.
      for (int64_t i = 0; i < 2; ++i)
        merge(merged[i], oldOf(numbers[i], arguments.lse));
      NVVM::SyncWarpOp::create(b, arith::ConstantIntOp::create(b, -1, 32));
    }
    for (int64_t i = 0; i < 2; ++i)
      storeRow(state, i, merged[i], {arguments.out, arguments.lse, false});
  };
  if (!parts.count)
    return whole();
  emitIf(
      b, a.lt(a.c(1), parts.count),
      [&] {
        for (int64_t i = 0; i < 2; ++i)
          storeRow(state, i, found[i], {parts.out, parts.lse, true});
      },
      whole);
}

/// A row's log-sum-exp so far. Rows past the end are nobody's.
Value Results::oldOf(Value number, Value lse) {
  auto ifOp = scf::IfOp::create(
      b, a.lt(number, rows.count),
      [&](OpBuilder &, Location) {
        Row at = rows.at(number);
        Value old = memref::LoadOp::create(
            b, lse, ValueRange{at.batch, at.head, at.number});
        scf::YieldOp::create(b, old);
      },
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, a.f32(-std::numeric_limits<float>::infinity()));
      });
  return ifOp.getResult(0);
}

Results::Result Results::normalised(Value top, Value sum) {
  auto mul = [&](Value x, Value y) -> Value {
    return arith::MulFOp::create(b, x, y);
  };
  Value some =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, sum, a.f32(0.0f));
  Value safe = a.select(some, sum, a.f32(1.0f));
  Value one = arith::DivFOp::create(b, a.f32(1.0f), safe);
  Value weight = a.select(some, one, a.f32(0.0f));
  Value log =
      mul(nvx::Log2Op::create(b, safe), a.f32(static_cast<float>(M_LN2)));
  Value total = arith::AddFOp::create(b, mul(top, a.f32(factorOf(shape))), log);
  Value least = a.f32(-std::numeric_limits<float>::infinity());
  return {a.select(some, total, least), weight, Value()};
}

/// Log-sum-exp of both parts, and their shares.
void Results::merge(Result &row, Value old) {
  Value top = arith::MaximumFOp::create(b, old, row.lse);
  // Both empty: any finite top keeps the difference from being NaN.
  Value safe = arith::MaximumFOp::create(b, top, a.f32(kMasked));
  auto share = [&](Value x) -> Value {
    Value difference = arith::SubFOp::create(b, x, safe);
    return nvx::Exp2Op::create(
        b, arith::MulFOp::create(b, difference,
                                 a.f32(static_cast<float>(M_LOG2E))));
  };
  Value oldShare = share(old), newShare = share(row.lse);
  Value sum = arith::AddFOp::create(b, oldShare, newShare);
  Value some =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, sum, a.f32(0.0f));
  Value divisor = a.select(some, sum, a.f32(1.0f));
  Value log = arith::MulFOp::create(b, nvx::Log2Op::create(b, divisor),
                                    a.f32(static_cast<float>(M_LN2)));
  Value least = a.f32(-std::numeric_limits<float>::infinity());
  row.lse = a.select(some, arith::AddFOp::create(b, safe, log), least);
  row.kept = arith::DivFOp::create(b, oldShare, divisor);
  Value weight = arith::DivFOp::create(b, newShare, divisor);
  row.weight = arith::MulFOp::create(b, row.weight, weight);
}

void Results::storeRow(const State &state, int64_t half, const Result &row,
                       const Target &target) {
  scf::IfOp::create(
      b, a.lt(numbers[half], rows.count), [&](OpBuilder &, Location) {
        Row place = rows.at(numbers[half]);
        if (target.isPart)
          place = rows.inParts(place);
        Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                              a.rem(lane, a.c(4)), a.c(0));
        scf::IfOp::create(b, isFirst, [&](OpBuilder &, Location) {
          memref::StoreOp::create(
              b, row.lse, target.lse,
              ValueRange{place.batch, place.head, place.number});
          scf::YieldOp::create(b);
        });
        storeColumns(state, half, row, place, target);
        scf::YieldOp::create(b);
      });
}

void Results::storeColumns(const State &state, int64_t half, const Result &row,
                           const Row &place, const Target &target) {
  auto element = cast<MemRefType>(target.out.getType()).getElementType();
  auto pair = VectorType::get({2}, element);
  auto wide = VectorType::get({2}, b.getF32Type());
  Attribute alignment =
      b.getI64IntegerAttr(2 * element.getIntOrFloatBitWidth() / 8);
  Value column = a.mul(a.rem(lane, a.c(4)), a.c(2));
  Value factor = vector::BroadcastOp::create(b, wide, row.weight);
  for (int64_t n = 0; n < shape.valueDim / 8; ++n) {
    SmallVector<Value> at = {place.batch, place.head, place.number,
                             a.add(column, a.c(8 * n))};
    Value x = vector::ExtractOp::create(b, state.out[n], half);
    x = arith::MulFOp::create(b, x, factor);
    if (row.kept) {
      auto load = vector::LoadOp::create(b, pair, target.out, at);
      load->setAttr("alignment", alignment);
      Value old = load;
      if (wide != pair)
        old = arith::ExtFOp::create(b, wide, old);
      Value weight = vector::BroadcastOp::create(b, wide, row.kept);
      x = vector::FMAOp::create(b, old, weight, x);
    }
    if (wide != pair)
      x = arith::TruncFOp::create(b, pair, x);
    auto store = vector::StoreOp::create(b, x, target.out, at);
    store->setAttr("alignment", alignment);
  }
}
