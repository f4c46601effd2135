//===- KeyBlock.cpp - one block of keys -----------------------------------===//

#include "KeyBlock.h"
#include "PairTests.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

Value KeyBlock::laneOf(const Part &part, int64_t g) const {
  return lanes.laneOf(part.span(), g);
}

Value KeyBlock::loadVector(const Part &part, Value from, Value row, int64_t g) {
  return lanes.load(from, row, part.span(), g);
}

void KeyBlock::storeVector(const Part &part, Value x, Value to, Value row,
                           int64_t g) {
  lanes.store(x, to, row, part.span(), g);
}

SmallVector<Value> KeyBlock::loadState(const Part &part, Value from) {
  SmallVector<Value> state;
  for (int64_t g = 0; g < part.vectors; ++g)
    state.push_back(
        vector::LoadOp::create(b, buffers.vector, from, laneOf(part, g)));
  return state;
}

void KeyBlock::storeState(const Part &part, ValueRange state, Value to) {
  for (auto [g, x] : llvm::enumerate(state))
    vector::StoreOp::create(b, x, to, laneOf(part, g));
}

/// Calls the part of the form and this key, which holds the update.
void KeyBlock::call(KernelParts &parts, const Twine &key, const Masks *masks) {
  SmallVector<Value> operands = {buffers.scratch, buffers.keyData,
                                 buffers.valueData, buffers.rowCount, from};
  const BlockForm &form = buffers.form;
  std::string full = (key + " " + shape.tileKey(form)).str();
  auto emit = [&](ValueRange arguments) {
    BlockBuffers own(b, shape, form, arguments[0]);
    own.keyData = arguments[1];
    own.valueData = arguments[2];
    own.rowCount = arguments[3];
    form.block(b, own, arguments[4])->emit(masks);
  };
  parts.call(b, full, operands, emit, form.unrolls());
}

void KeyBlock::callFull(KernelParts &parts) { call(parts, "full", nullptr); }

/// What depends on pieces and positions is looked up here, for the part to
/// find it in the scratch.
void KeyBlock::callMasked(KernelParts &parts, const ElementContext &element) {
  Masks masks{bool(element.test), shape.hasBiasPerRow(), shape.hasBiasPerKey()};
  if (masks.test || !shape.biasPerKey.empty())
    eachVector([&](const Part &part) { evaluate(part, element); });
  std::string key = "masked";
  llvm::raw_string_ostream os(key);
  os << ' ' << shape.softcap.value_or(0) << ' ' << masks.test
     << masks.biasPerRow << masks.biasPerKey;
  // Where the biases are in the scratch.
  if (!shape.biasPerKey.empty())
    os << shape.hasTest();
  call(parts, key, &masks);
}

void KeyBlock::eachVector(function_ref<void(const Part &)> body) {
  Value width = a.c(shape.lanes);
  Value vectors = a.ceilDiv(buffers.rowCount, width);
  emitFor(b, a.c(0), vectors, 1, [&](Value g) {
    Part part{a.mul(g, width), 1, Value(), Value()};
    Value step = a.c(buffers.form.maskedKeys());
    Value low = memref::LoadOp::create(b, buffers.vectorLow, g);
    Value high = memref::LoadOp::create(b, buffers.vectorHigh, g);
    Value begin = a.max(a.sub(low, from), a.c(0));
    part.begin = a.mul(a.div(begin, step), step);
    Value end = a.min(a.sub(high, from), a.c(buffers.form.keys()));
    part.end = a.mul(a.ceilDiv(end, step), step);
    scf::IfOp::create(b, a.lt(part.begin, part.end),
                      [&](OpBuilder &, Location) {
                        body(part);
                        scf::YieldOp::create(b);
                      });
  });
}

/// A dimension of size one is broadcast.
SmallVector<KeyBlock::BiasView>
KeyBlock::viewsOf(const ElementContext &element) {
  SmallVector<BiasView> views;
  for (auto [bias, perKey] :
       llvm::zip_equal(element.biases, shape.biasPerKey)) {
    auto last = [&, bias = bias](unsigned i) {
      return a.sub(memref::DimOp::create(b, bias, i), a.c(1));
    };
    auto [data, strides] = flattenAt(b, bias,
                                     {a.min(element.leaves.batch, last(0)),
                                      a.min(element.leaves.head, last(1))});
    views.push_back({data, last(2), last(3), strides[2], strides[3], perKey});
  }
  return views;
}

/// The biases of a key, in units of log2: those that are the same for all
/// queries, and those of the part's rows.
void KeyBlock::sumBiases(const Part &part, Value n, Value keyRow,
                         ArrayRef<BiasView> biases) {
  Value sum;
  auto add = [&](Value x) {
    sum = sum ? arith::AddFOp::create(b, sum, x).getResult() : x;
  };
  auto placeOf = [&](const BiasView &bias) {
    return a.mul(a.min(keyRow, bias.lastKey), bias.keyStride);
  };
  for (const BiasView &bias : biases)
    if (bias.perKey)
      add(memref::LoadOp::create(b, bias.data, placeOf(bias)));
  if (sum)
    memref::StoreOp::create(b, emitBase2(b, sum), buffers.keyBiases, n);
  if (!shape.hasBiasPerRow())
    return;
  sum = {};
  auto rows = VectorType::get({shape.lanes}, b.getIndexType());
  auto all = [&](Value x) -> Value {
    return vector::BroadcastOp::create(b, rows, x);
  };
  Value mask = arith::ConstantOp::create(
      b, DenseElementsAttr::get(VectorType::get({shape.lanes}, b.getI1Type()),
                                true));
  Value none = a.splat(0, buffers.vector);
  Value row = vector::LoadOp::create(b, rows, buffers.rowOf, part.lane);
  for (const BiasView &bias : biases) {
    if (bias.perKey)
      continue;
    Value at = arith::MinSIOp::create(b, row, all(bias.lastRow));
    at = arith::MulIOp::create(b, at, all(bias.rowStride));
    add(vector::GatherOp::create(b, buffers.vector, bias.data,
                                 ValueRange{placeOf(bias)}, at, mask, none));
  }
  storeVector(part, emitBase2(b, sum), buffers.rowBiases, n, 0);
}

/// Fills `allowed` and the biases for a part of one vector.
void KeyBlock::evaluate(const Part &part, const ElementContext &element) {
  SmallVector<BiasView> biases = viewsOf(element);
  PairTests tests{b,
                  element.test,
                  element.views,
                  /*lanesAreQueries=*/true,
                  buffers.rowOf,
                  buffers.keyRow,
                  buffers.allowed,
                  shape.lanes};
  emitFor(b, part.begin, part.end, 1, [&](Value n) {
    Value row = memref::LoadOp::create(b, buffers.keyRow, n);
    sumBiases(part, n, row, biases);
    if (element.test)
      tests.fill(n, part.begin, part.lane, part.vectors);
  });
}

Value KeyBlock::adjust(const Part &part, Value s, Value key, int64_t g,
                       const Masks &masks) {
  SmallVector<Value> at = {key, laneOf(part, g)};
  Value masked = a.splat(kMasked, buffers.vector);
  if (shape.softcap) {
    float cap = *shape.softcap * static_cast<float>(M_LOG2E);
    Value t = arith::MulFOp::create(b, s, a.splat(1.0f / cap, buffers.vector));
    s = arith::MulFOp::create(b, math::TanhOp::create(b, t),
                              a.splat(cap, buffers.vector));
  }
  if (masks.biasPerRow)
    s = arith::AddFOp::create(b, s,
                              loadVector(part, buffers.rowBiases, key, g));
  if (masks.biasPerKey) {
    Value bias = memref::LoadOp::create(b, buffers.keyBiases, key);
    s = arith::AddFOp::create(
        b, s, vector::BroadcastOp::create(b, buffers.vector, bias));
  }
  auto ints = VectorType::get({shape.lanes}, b.getI32Type());
  auto load = [&](Value from, ValueRange place) -> Value {
    return vector::LoadOp::create(b, ints, from, place);
  };
  using Predicate = arith::CmpIPredicate;
  Value number =
      arith::IndexCastOp::create(b, b.getI32Type(), a.add(from, key));
  number = vector::BroadcastOp::create(b, ints, number);
  Value keep = a.both(arith::CmpIOp::create(b, Predicate::sge, number,
                                            load(buffers.low, at[1])),
                      arith::CmpIOp::create(b, Predicate::slt, number,
                                            load(buffers.high, at[1])));
  if (masks.test) {
    Value none = arith::ConstantOp::create(
        b, DenseElementsAttr::get(ints, b.getI32IntegerAttr(0)));
    keep = a.both(keep, arith::CmpIOp::create(b, Predicate::ne,
                                              load(buffers.allowed, at), none));
  }
  return a.select(keep, s, masked);
}
