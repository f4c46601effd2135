//===- LodEntries.cpp - working contexts as linalg ------------------------===//
//
// Decomposes what is done to every entry of a working context by itself:
// rotary embedding, gathering, scores.
//
//===----------------------------------------------------------------------===//

#include "Lod.h"
#include "Softmax.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;

//===----------------------------------------------------------------------===//
// gaussian_rope
//===----------------------------------------------------------------------===//

static Value emitDouble(Emitter &b, double value) {
  return arith::ConstantOp::create(b, b.getF64FloatAttr(value));
}

/// An integer or float as f64.
static Value toDouble(Emitter &b, Value x) {
  if (isa<FloatType>(x.getType()))
    return arith::ExtFOp::create(b, b.getF64Type(), x);
  Value wide = b.fromIndex(b.toIndex(x), b.getI64Type());
  return arith::SIToFPOp::create(b, b.getF64Type(), wide);
}

/// exp(-(sigma * freq)^2 / 2), sigma = max(1, ratio^lod).
static Value emitFade(Emitter &b, Value lod, Value freq, int64_t ratio) {
  Value zero = emitDouble(b, 0), logRatio = emitDouble(b, std::log(ratio));
  Value level = arith::MaximumFOp::create(b, toDouble(b, lod), zero);
  Value sigma =
      math::ExpOp::create(b, arith::MulFOp::create(b, level, logRatio));
  Value spread = arith::MulFOp::create(b, sigma, freq);
  Value square = arith::MulFOp::create(b, spread, spread);
  return math::ExpOp::create(
      b, arith::MulFOp::create(b, square, emitDouble(b, -0.5)));
}

FailureOr<SmallVector<Value>>
GaussianRopeOp::decomposeOperation(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(b, shapes)))
    return failure();
  SmallVector<double> freqs;
  double base = getBase().convertToFloat(), dim = getDim();
  for (uint64_t k = 0; k < getDim() / 2; ++k)
    freqs.push_back(std::pow(base, -2.0 * k / dim));
  Value table = arith::ConstantOp::create(
      b, DenseElementsAttr::get(
             RankedTensorType::get(freqs.size(), b.getF64Type()),
             ArrayRef<double>(freqs)));
  auto part = [&](auto turn) {
    Value empty = tensor::EmptyOp::create(b, shapes[0], b.getF32Type());
    return emitGeneric(
        b, {getPositions(), getLods(), table}, empty,
        {{0, 1}, {0, 1}, {2}, {0, 1, 2}},
        [&](Emitter &in, ValueRange x) -> Value {
          Value angle = arith::MulFOp::create(in, toDouble(in, x[0]), x[2]);
          Value fade = emitFade(in, x[1], x[2], getRatio());
          Value value = arith::MulFOp::create(in, turn(in, angle), fade);
          return arith::TruncFOp::create(in, in.getF32Type(), value);
        });
  };
  return SmallVector<Value>{part([](Emitter &in, Value angle) -> Value {
                              return math::CosOp::create(in, angle);
                            }),
                            part([](Emitter &in, Value angle) -> Value {
                              return math::SinOp::create(in, angle);
                            })};
}

//===----------------------------------------------------------------------===//
// lod_gather
//===----------------------------------------------------------------------===//

Value mlir::megactx::emitExists(Emitter &b, Value lengths, Value batch,
                                Value entry) {
  if (!lengths)
    return b.truth(true);
  return b.lt(entry, b.extract(lengths, batch));
}

void mlir::megactx::emitCheckPositions(OpBuilder &builder, Location loc,
                                       Value positions, Value lengths) {
  Emitter b(loc, builder);
  Value ok = emitForAll(b, {positions}, [&](Emitter &in, ValueRange x) {
    Value batch = linalg::IndexOp::create(in, 0);
    Value entry = linalg::IndexOp::create(in, 1);
    Value previous = in.max(in.sub(entry, in.index(1)), in.index(0));
    Value ordered = in.le(in.extract(positions, {batch, previous}), x[0]);
    Value exists = emitExists(in, lengths, batch, entry);
    return in.either(in.eq(exists, in.truth(false)), ordered);
  });
  cf::AssertOp::create(b, ok,
                       "megactx.attention: the positions of keys decrease");
}

int64_t mlir::megactx::spanOf(int64_t ratio, int64_t level) {
  int64_t span = 1;
  while (level-- > 0)
    span *= ratio;
  return span;
}

void mlir::megactx::emitCheckRows(Emitter &b, Value lods, Value positions,
                                  ValueRange levels, int64_t ratio,
                                  StringRef what, NeedsRow needsRow) {
  SmallVector<Value> rows;
  for (Value level : levels)
    rows.push_back(b.dim(level, 1));
  Value ok = emitForAll(b, {lods, positions}, [&](Emitter &in, ValueRange x) {
    Value batch = linalg::IndexOp::create(in, 0);
    Value entry = linalg::IndexOp::create(in, 1);
    Value missing = in.eq(needsRow(in, batch, entry), in.truth(false));
    Value lod = in.toIndex(x[0]), position = in.toIndex(x[1]);
    Value fits = in.truth(false);
    for (auto [level, count] : llvm::enumerate(rows)) {
      Value row = in.floorDiv(position, in.index(spanOf(ratio, level)));
      Value here = in.both(in.eq(lod, in.index(level)), in.lt(row, count));
      fits = in.either(fits, here);
    }
    fits = in.both(fits, in.le(in.index(0), position));
    return in.either(missing, fits);
  });
  cf::AssertOp::create(b, ok,
                       (what + ": an entry has a lod that is no "
                               "level's or a position past the level's rows")
                           .str());
}

Value mlir::megactx::emitRow(Emitter &b, Value lod, Value position, Value batch,
                             Value column, ValueRange levels, int64_t ratio) {
  Type element = cast<RankedTensorType>(levels[0].getType()).getElementType();
  Value result =
      arith::ConstantOp::create(b, b.getFloatAttr(element, 0.0)).getResult();
  // Levels may have no rows: only that of the lod is read.
  for (auto [level, rows] : llvm::enumerate(levels)) {
    Value here = b.eq(lod, b.index(level));
    auto choice = scf::IfOp::create(
        b, here,
        [&, rows = rows, level = level](OpBuilder &nested, Location loc) {
          Emitter in(loc, nested);
          Value row = in.floorDiv(position, in.index(spanOf(ratio, level)));
          scf::YieldOp::create(in, in.extract(rows, {batch, row, column}));
        },
        [&](OpBuilder &nested, Location loc) {
          scf::YieldOp::create(nested, loc, result);
        });
    result = choice.getResult(0);
  }
  return result;
}

FailureOr<SmallVector<Value>>
LodGatherOp::decomposeOperation(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(b, shapes)))
    return failure();
  emitCheckRows(b, getLods(), getPositions(), getLevels(), getRatio(),
                "megactx.lod_gather",
                [&](Emitter &in, Value batch, Value entry) {
                  return emitExists(in, getLengths(), batch, entry);
                });
  Type element = getResult().getType().getElementType();
  Value empty = tensor::EmptyOp::create(b, shapes[0], element);
  return SmallVector<Value>{emitGeneric(
      b, {getLods(), getPositions()}, empty, {{0, 1}, {0, 1}, {0, 1, 2}},
      [&](Emitter &in, ValueRange x) {
        Value at[3];
        for (int64_t i = 0; i < 3; ++i)
          at[i] = linalg::IndexOp::create(in, i);
        Value exists = emitExists(in, getLengths(), at[0], at[1]);
        Value lod = in.select(exists, in.toIndex(x[0]), in.index(-1));
        return emitRow(in, lod, in.toIndex(x[1]), at[0], at[2], getLevels(),
                       getRatio());
      })};
}

//===----------------------------------------------------------------------===//
// lens_score
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<Value>>
LensScoreOp::decomposeOperation(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(b, shapes)))
    return failure();
  const SmallVector<int64_t> all = {0, 1, 2}, entry = {0, 1};
  Value products = emitGeneric(
      b, {getFeatures(), getWeight()}, b.filled(shapes[0], emitFloat(b, 0)),
      {all, {2}, entry}, [](Emitter &in, ValueRange x) -> Value {
        Value term = arith::MulFOp::create(in, in.toF32(x[0]), in.toF32(x[1]));
        return arith::AddFOp::create(in, x[2], term);
      });
  Value bias = getBias() ? b.toF32(b.extract(getBias(), {})) : emitFloat(b, 0);
  return SmallVector<Value>{emitGeneric(
      b, {getLods()}, products, {entry, entry}, [&](Emitter &in, ValueRange x) {
        Value lod = in.toIndex(x[0]), zero = emitFloat(in, 0);
        Value sum = arith::AddFOp::create(in, x[1], bias);
        Value score = math::TanhOp::create(in, sum);
        Value less = arith::MinimumFOp::create(in, score, zero);
        score = in.select(in.le(lod, in.index(0)), less, score);
        Value more = arith::MaximumFOp::create(in, score, zero);
        return in.select(in.le(in.index(getTop()), lod), more, score);
      })};
}
