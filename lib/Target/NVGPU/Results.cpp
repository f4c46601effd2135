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
    if (shape.accumulate)
      for (int64_t i = 0; i < 2; ++i)
        merge(merged[i], oldOf(numbers[i], arguments.lse));
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
  Value weight = a.select(some, reciprocal(safe), a.f32(0.0f));
  Value log =
      mul(nvx::Log2Op::create(b, safe), a.f32(static_cast<float>(M_LN2)));
  Value total = arith::AddFOp::create(b, mul(top, a.f32(factorOf(shape))), log);
  Value least = a.f32(-std::numeric_limits<float>::infinity());
  return {a.select(some, total, least), weight, Value()};
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
  Value ofShare = reciprocal(divisor);
  row.kept = arith::MulFOp::create(b, oldShare, ofShare);
  Value weight = arith::MulFOp::create(b, newShare, ofShare);
  row.weight = arith::MulFOp::create(b, row.weight, weight);
}

void Results::storeRow(const State &state, int64_t half, const Result &row,
                       const Target &target) {
  Value exists = a.lt(numbers[half], rows.count);
  Row place = rows.at(numbers[half]);
  if (target.isPart)
    place = rows.inParts(place);
  SmallVector<Chunk> chunks =
      inChunks(pairsOf(state, half, row, {place, exists}, target.out));
  // Four lanes read what a row was before any of them writes.
  if (row.kept)
    NVVM::SyncWarpOp::create(b, arith::ConstantIntOp::create(b, -1, 32));
  emitIf(b, exists, [&] {
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                          a.rem(lane, a.c(4)), a.c(0));
    emitIf(b, isFirst, [&] {
      memref::StoreOp::create(b, row.lse, target.lse,
                              ValueRange{place.batch, place.head, place.number});
    });
    for (const Chunk &chunk : chunks) {
      auto store = vector::StoreOp::create(b, chunk.elements, target.out,
                                           place.at(chunk.column));
      store->setAttr("alignment", alignmentOf(chunk.elements.getType()));
    }
  });
}

/// A vector's bytes.
IntegerAttr Results::alignmentOf(Type type) {
  auto vector = cast<VectorType>(type);
  return b.getI64IntegerAttr(vector.getNumElements() *
                             vector.getElementTypeBitWidth() / 8);
}

/// The lane's two columns of each eight.
SmallVector<Value> Results::pairsOf(const State &state, int64_t half,
                                    const Result &row, const Place &place,
                                    Value out) {
  auto element = cast<MemRefType>(out.getType()).getElementType();
  auto pair = VectorType::get({2}, element);
  auto wide = VectorType::get({2}, b.getF32Type());
  Value factor = vector::BroadcastOp::create(b, wide, row.weight);
  SmallVector<Value> pairs;
  for (int64_t n = 0; n < shape.valueDim / 8; ++n) {
    Value x = vector::ExtractOp::create(b, state.out[n], half);
    pairs.push_back(arith::MulFOp::create(b, x, factor));
  }
  if (row.kept) {
    Value kept = vector::BroadcastOp::create(b, wide, row.kept);
    addOld(pairs, kept, place, out, pair);
  }
  if (wide != pair)
    for (Value &x : pairs)
      x = arith::TruncFOp::create(b, pair, x);
  return pairs;
}

/// Adds what the row was, times `kept`; rows past the end are nobody's.
void Results::addOld(SmallVectorImpl<Value> &pairs, Value kept,
                     const Place &place, Value out, VectorType pair) {
  auto sums = scf::IfOp::create(
      b, place.exists,
      [&](OpBuilder &, Location) {
        SmallVector<Value> merged;
        for (auto [n, x] : llvm::enumerate(pairs)) {
          auto load = vector::LoadOp::create(b, pair, out,
                                             place.row.at(columnOf(n)));
          load->setAttr("alignment", alignmentOf(pair));
          Value old = load;
          if (pair != kept.getType())
            old = arith::ExtFOp::create(b, kept.getType(), old);
          merged.push_back(vector::FMAOp::create(b, old, kept, x));
        }
        scf::YieldOp::create(b, merged);
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, pairs); });
  llvm::copy(sums.getResults(), pairs.begin());
}

/// The first of the lane's two columns of the eight with a number.
Value Results::columnOf(int64_t eight) {
  Value inEight = a.mul(a.rem(lane, a.c(4)), a.c(2));
  return a.add(inEight, a.c(8 * eight));
}

/// What a lane stores at once: of 16 bits, of each four times eight columns of
/// a row, which four lanes have, eight.
SmallVector<Results::Chunk> Results::inChunks(ArrayRef<Value> pairs) {
  constexpr size_t lanes = 4;
  auto pair = cast<VectorType>(pairs.front().getType());
  bool isWord = pair.getElementTypeBitWidth() == 16;
  auto eight = VectorType::get({8}, pair.getElementType());
  Value own = a.mul(a.rem(lane, a.c(lanes)), a.c(8));
  SmallVector<Chunk> chunks;
  for (int64_t n = 0; !pairs.empty();) {
    if (!isWord || pairs.size() < lanes) {
      chunks.push_back({pairs.front(), columnOf(n++)});
      pairs = pairs.drop_front();
      continue;
    }
    auto word = VectorType::get({1}, b.getI32Type());
    SmallVector<Value> words;
    for (Value x : pairs.take_front(lanes))
      words.push_back(vector::ExtractOp::create(
          b, vector::BitCastOp::create(b, word, x), 0));
    nvx::transposeInQuads(b, words, lane);
    Value joined = vector::FromElementsOp::create(
        b, VectorType::get({lanes}, b.getI32Type()), words);
    chunks.push_back({vector::BitCastOp::create(b, eight, joined),
                      a.add(own, a.c(8 * n))});
    pairs = pairs.drop_front(lanes);
    n += lanes;
  }
  return chunks;
}
