//===- LodEntries.cpp - working contexts as linalg ------------------------===//
//
// Decomposes what is done to every entry of a working context by itself:
// rotary embedding, gathering, scores.
//
//===----------------------------------------------------------------------===//

#include "Lod.h"
#include "Softmax.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Support/Check.h"
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

static Value toSingle(Emitter &b, Value x) {
  return arith::TruncFOp::create(b, b.getF32Type(), x);
}

/// The angle, in f64, less its whole turns, in f32.
static Value emitReduced(Emitter &b, Value angle) {
  Value turns = arith::MulFOp::create(b, angle, emitDouble(b, 0.5 / M_PI));
  Value whole = math::RoundEvenOp::create(b, turns);
  Value most = arith::MulFOp::create(b, whole, emitDouble(b, 2 * M_PI));
  return toSingle(b, arith::SubFOp::create(b, angle, most));
}

/// exp(-(sigma * freq)^2 / 2), sigma = max(1, ratio^lod), of freq's logarithm.
/// In f32 but for the sum of logarithms: where the result is neither 0 nor 1,
/// that is near 0, and its error is far below the result's last place.
static Value emitFade(Emitter &b, Value lod, Value logFreq, int64_t ratio) {
  Value level = toDouble(b, b.max(b.toIndex(lod), b.index(0)));
  Value logSigma =
      arith::MulFOp::create(b, level, emitDouble(b, std::log(ratio)));
  Value logSpread = arith::AddFOp::create(b, logSigma, logFreq);
  Value logSquare = arith::MulFOp::create(b, logSpread, emitDouble(b, 2));
  Value square = math::ExpOp::create(b, toSingle(b, logSquare));
  return math::ExpOp::create(
      b, arith::MulFOp::create(b, square, emitFloat(b, -0.5)));
}

FailureOr<SmallVector<Value>>
GaussianRopeOp::decomposeOperation(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(b, shapes)))
    return failure();
  SmallVector<double> freqs, logs;
  double logBase = std::log(double(getBase().convertToFloat()));
  for (uint64_t k = 0; k < getDim() / 2; ++k) {
    logs.push_back(logBase * -2.0 * k / getDim());
    freqs.push_back(std::exp(logs.back()));
  }
  auto table = [&](ArrayRef<double> values) -> Value {
    auto type = RankedTensorType::get(values.size(), b.getF64Type());
    return arith::ConstantOp::create(b, DenseElementsAttr::get(type, values));
  };
  Value inputs[] = {getPositions(), getLods(), table(freqs), table(logs)};
  Value cos = tensor::EmptyOp::create(b, shapes[0], b.getF32Type());
  Value sin = tensor::EmptyOp::create(b, shapes[0], b.getF32Type());
  AffineExpr batch, entry, pair;
  bindDims(b.getContext(), batch, entry, pair);
  SmallVector<AffineMap> maps = AffineMap::inferFromExprList(
      ArrayRef<SmallVector<AffineExpr, 4>>{{batch, entry},
                                           {batch, entry},
                                           {pair},
                                           {pair},
                                           {batch, entry, pair},
                                           {batch, entry, pair}},
      b.getContext());
  // Both in one op, which has the angle and the fading once.
  auto op = linalg::GenericOp::create(
      b, b.getLoc(), TypeRange{cos.getType(), sin.getType()}, inputs,
      ValueRange{cos, sin}, maps,
      SmallVector<utils::IteratorType>(3, utils::IteratorType::parallel),
      [&](OpBuilder &nested, Location loc, ValueRange x) {
        Emitter in(loc, nested);
        Value angle = emitReduced(
            in, arith::MulFOp::create(in, toDouble(in, x[0]), x[2]));
        Value fade = emitFade(in, x[1], x[3], getRatio());
        Value c = math::CosOp::create(in, angle);
        Value s = math::SinOp::create(in, angle);
        SmallVector<Value> results = {arith::MulFOp::create(in, c, fade),
                                      arith::MulFOp::create(in, s, fade)};
        linalg::YieldOp::create(in, results);
      });
  return SmallVector<Value>(op.getResults());
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
  createCheck(b, ok,
              what + ": an entry has a lod that is no "
                     "level's or a position past the level's rows");
}

Value mlir::megactx::emitRow(Emitter &b, Value lod, Value position, Value batch,
                             Value column, ValueRange levels, int64_t ratio) {
  Type element = cast<RankedTensorType>(levels[0].getType()).getElementType();
  Value result =
      arith::ConstantOp::create(b, b.getFloatAttr(element, 0.0)).getResult();
  // Levels may lack the row, which is checked elsewhere, but not always before.
  for (auto [level, rows] : llvm::enumerate(levels)) {
    Value row = b.floorDiv(position, b.index(spanOf(ratio, level)));
    Value inside = b.both(b.le(b.index(0), row), b.lt(row, b.dim(rows, 1)));
    auto choice = scf::IfOp::create(
        b, b.both(b.eq(lod, b.index(level)), inside),
        [&, rows = rows](OpBuilder &nested, Location loc) {
          Emitter in(loc, nested);
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
        return in.addProduct(x[2], in.toF32(x[0]), in.toF32(x[1]));
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
