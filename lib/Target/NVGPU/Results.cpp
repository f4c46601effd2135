//===- Results.cpp - rows out of a block's registers ----------------------===//

#include "Results.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
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
      for (int64_t i = 0; i < 2; ++i)
        merge(merged[i], oldOf(numbers[i], arguments.lse));
      allHaveRead();
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
          storeRow(state, i, found[i], {parts.out, parts.statistics, true});
      },
      whole);
}

/// What a row was, which four lanes of a warp read before one writes it.
void Results::allHaveRead() {
  NVVM::SyncWarpOp::create(b, arith::ConstantIntOp::create(b, -1, 32));
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
      arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, sum, a.f32(0.0f));
  Value safe = a.select(some, sum, a.f32(1.0f));
  Value weight = a.select(some, reciprocal(safe), a.f32(0.0f));
  Value log =
      mul(nvx::Log2Op::create(b, safe), a.f32(static_cast<float>(M_LN2)));
  top = mul(top, a.f32(factorOf(shape)));
  Value total = arith::AddFOp::create(b, top, log);
  Value least = a.f32(-std::numeric_limits<float>::infinity());
  return {a.select(some, total, least), top, sum, weight, Value()};
}

/// To a unit in the last place, in one instruction: an exact division takes a
/// call.
Value Results::reciprocal(Value x) {
  return NVVM::RcpApproxFtzF32Op::create(b, b.getF32Type(), x);
}

/// Log-sum-exp of both parts, and their shares.
void Results::merge(Result &row, Value old) {
  Value top = arith::MaximumFOp::create(b, old, row.lse);
  // Both empty: any finite top keeps the difference from being NaN.
  Value safe = arith::MaximumFOp::create(b, top, a.f32(kLeastTop));
  auto share = [&](Value x) -> Value {
    Value difference = arith::SubFOp::create(b, x, safe);
    return nvx::Exp2Op::create(
        b, arith::MulFOp::create(b, difference,
                                 a.f32(static_cast<float>(M_LOG2E))));
  };
  Value oldShare = share(old), newShare = share(row.lse);
  Value sum = arith::AddFOp::create(b, oldShare, newShare);
  Value some =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, sum, a.f32(0.0f));
  Value divisor = a.select(some, sum, a.f32(1.0f));
  Value log = arith::MulFOp::create(b, nvx::Log2Op::create(b, divisor),
                                    a.f32(static_cast<float>(M_LN2)));
  Value least = a.f32(-std::numeric_limits<float>::infinity());
  row.lse = a.select(some, arith::AddFOp::create(b, safe, log), least);
  Value ofShare = reciprocal(divisor);
  row.kept = arith::MulFOp::create(b, oldShare, ofShare);
  Value weight = arith::MulFOp::create(b, newShare, ofShare);
  row.weight = arith::MulFOp::create(b, row.weight, weight);
}

void Results::storeRow(const State &state, int64_t half, const Result &row,
                       const Target &target) {
  Value exists = a.lt(numbers[half], rows.count);
  Row at = rows.at(numbers[half]);
  if (target.isPart)
    at = rows.inParts(at);
  Value isFirst = a.eq(a.rem(lane, a.c(kLanes)), a.c(0));
  emitIf(b, a.both(exists, isFirst), [&] { storeNumbers(row, at, target); });
  Place place{at, exists, target.out, {}};
  if (row.kept) {
    // All at once: each load takes as long as all of them.
    readOld(place);
    allHaveRead();
  }
  for (int64_t n = 0; n < shape.valueDim / 8;)
    n += storeEights(state, half, n, row, place);
}

/// A row's log-sum-exp, or a part's statistics.
void Results::storeNumbers(const Result &row, const Row &at,
                           const Target &target) {
  if (!target.isPart) {
    memref::StoreOp::create(b, row.lse, target.perRow,
                            ValueRange{at.batch, at.head, at.number});
    return;
  }
  auto pair = VectorType::get({2}, b.getF32Type());
  Value both =
      vector::FromElementsOp::create(b, pair, ValueRange{row.top, row.sum});
  auto store = vector::StoreOp::create(b, both, target.perRow, at.at(a.c(0)));
  store->setAttr("alignment", alignmentOf(pair));
}

/// A vector's bytes.
IntegerAttr Results::alignmentOf(Type type) {
  auto vector = cast<VectorType>(type);
  return b.getI64IntegerAttr(vector.getNumElements() *
                             vector.getElementTypeBitWidth() / 8);
}

/// Stores columns of a row from the eight with a number on, of which the lane
/// has two of each; gives how many eights. Of 16 bits, of each four times eight
/// columns a lane stores eight, for itself and three others.
int64_t Results::storeEights(const State &state, int64_t half, int64_t first,
                             const Result &row, const Place &place) {
  auto element = cast<MemRefType>(place.out.getType()).getElementType();
  bool isWord = element.getIntOrFloatBitWidth() == 16;
  int64_t count =
      isWord && first + kLanes <= shape.valueDim / 8 ? int64_t(kLanes) : 1;
  auto pair = VectorType::get({2}, element);
  SmallVector<Value> pairs;
  for (int64_t n = first; n < first + count; ++n)
    pairs.push_back(pairOf(state, half, n, row, place, pair));
  Value elements = pairs.front(), column = columnOf(first);
  if (count > 1) {
    elements = transposed(pairs, element);
    column = a.add(a.mul(a.rem(lane, a.c(kLanes)), a.c(8)), a.c(8 * first));
  }
  emitIf(b, place.exists, [&] {
    auto store =
        vector::StoreOp::create(b, elements, place.out, place.row.at(column));
    store->setAttr("alignment", alignmentOf(elements.getType()));
  });
  return count;
}

/// The first of the lane's two columns of the eight with a number.
Value Results::columnOf(int64_t eight) {
  Value inEight = a.mul(a.rem(lane, a.c(kLanes)), a.c(2));
  return a.add(inEight, a.c(8 * eight));
}

/// Of eights of 16 bits, all columns of the one that is the lane's.
Value Results::transposed(ArrayRef<Value> pairs, Type element) {
  auto word = VectorType::get({1}, b.getI32Type());
  SmallVector<Value> words;
  for (Value x : pairs)
    words.push_back(
        vector::ExtractOp::create(b, vector::BitCastOp::create(b, word, x), 0));
  nvx::transposeInQuads(b, words, lane);
  auto joined = VectorType::get({kLanes}, b.getI32Type());
  return vector::BitCastOp::create(
      b, VectorType::get({8}, element),
      vector::FromElementsOp::create(b, joined, words));
}

/// The lane's two columns of an eight.
Value Results::pairOf(const State &state, int64_t half, int64_t eight,
                      const Result &row, const Place &place, VectorType pair) {
  auto wide = VectorType::get({2}, b.getF32Type());
  Value x = vector::ExtractOp::create(b, state.out[eight], half);
  x = arith::MulFOp::create(b, x,
                            vector::BroadcastOp::create(b, wide, row.weight));
  if (row.kept) {
    Value old = place.old[eight];
    if (wide != pair)
      old = arith::ExtFOp::create(b, wide, old);
    Value kept = vector::BroadcastOp::create(b, wide, row.kept);
    x = vector::FMAOp::create(b, old, kept, x);
  }
  return wide == pair ? x : Value(arith::TruncFOp::create(b, pair, x));
}

/// The lane's columns of what a row was; rows past the end are nobody's.
void Results::readOld(Place &place) {
  auto pair = VectorType::get(
      {2}, cast<MemRefType>(place.out.getType()).getElementType());
  int64_t count = shape.valueDim / 8;
  auto old = scf::IfOp::create(
      b, place.exists,
      [&](OpBuilder &, Location) {
        SmallVector<Value> loads;
        for (int64_t n = 0; n < count; ++n) {
          auto load = vector::LoadOp::create(b, pair, place.out,
                                             place.row.at(columnOf(n)));
          load->setAttr("alignment", alignmentOf(pair));
          loads.push_back(load);
        }
        scf::YieldOp::create(b, loads);
      },
      [&](OpBuilder &, Location) {
        Value zero = arith::ConstantOp::create(b, b.getZeroAttr(pair));
        scf::YieldOp::create(b, SmallVector<Value>(count, zero));
      });
  llvm::append_range(place.old, old.getResults());
}
