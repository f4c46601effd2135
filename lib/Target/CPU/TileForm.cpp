//===- TileForm.cpp - rows in the lanes, products by matrix tiles ---------===//
//
// Owns the form of tasks whose products are those of matrix tiles of bf16:
//
//   S  = K Qt       keys as they are, the queries' columns in pairs
//   Ot = Vt P       values turned, weights of keys that follow in pairs
//
// of at most 32 rows after the other, so that what is summed stays in the first
// level of the cache.
//
//===----------------------------------------------------------------------===//

#include "KeyBlock.h"
#include "TileProducts.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

/// A row's maximum stays as it was until another is as many powers of two
/// larger: sums need not be scaled for each key that is a little better.
static constexpr float kGrowth = 8;
/// Of a task's vectors, those that are computed at once.
static int64_t vectorsAtOnce(const BlockForm &form) {
  return std::min<int64_t>(form.vectors, 2);
}
/// Of keys: of a block, and of the part of a masked one that is left out where
/// no row sees it.
static constexpr int64_t kKeys = 4 * kTileRows, kPartKeys = kNarrow;

/// Of a class, from which on there are enough blocks of more than 64 rows.
static constexpr int64_t kManyRows = 1024;

namespace {
/// Of buffers; pairs of rows lie in words: queries [D / 2][2 rows], D rounded
/// up to 32, keys [keys][D], values [Dv][keys], weights [keys / 2][2 rows at
/// once], all bf16; scores [keys][rows at once], f32.
enum Own { kQueryPairs, kKeyTile, kValueTile, kWeightPairs, kScores };

class TileBlock : public KeyBlock {
public:
  using KeyBlock::KeyBlock;

private:
  void emit(const Masks *masks) override;
  void emitRows(const TileRows &keys, const Masks *masks);
  Value seesPart(Value lane, Value n);
  void update(const Part &part, int64_t count, const TileRows &keys,
              const Masks *masks);
  std::pair<Value, Value> evenRows();
  Value loadScore(Value n, int64_t g);
  SmallVector<Value> maxima(const Part &part, ValueRange before,
                            const Masks *masks);
  void raiseTops(const Part &part, const Masks *masks);
  void pairExponentials(const Part &part, const Masks *masks);

  /// Of scores in units of log2.
  Value factor() const {
    return a.splat(std::abs(shape.scaleBase2()), buffers.vector);
  }
};

class TileForm : public BlockForm {
public:
  using BlockForm::BlockForm;
  StringRef name() const override { return "tiles"; }
  // Wider blocks than these are for those that are many all the same.
  int64_t mostRows() const override {
    return vectors == 4 ? kManyRows : rows();
  }
  int64_t keys() const override { return kKeys; }
  int64_t maskedKeys() const override { return kKeys; }
  // Rounded queries are to stay exact: scores are scaled.
  float queryFactor() const override {
    return std::copysign(1.0f, shape.scale);
  }
  SmallVector<MemRefType> ownBuffers(MLIRContext *context) const override {
    Type bf16 = BFloat16Type::get(context), f32 = Float32Type::get(context);
    int64_t columns = llvm::alignTo(shape.headDim, kNarrow);
    int64_t rowsAtOnce = vectorsAtOnce(*this) * kWords;
    return {MemRefType::get({columns / 2, 2 * rows()}, bf16),
            MemRefType::get({kKeys, columns}, bf16),
            MemRefType::get({shape.valueDim, kKeys}, bf16),
            MemRefType::get({kKeys / 2, 2 * rowsAtOnce}, bf16),
            MemRefType::get({kKeys, rowsAtOnce}, f32)};
  }
  void readQueries(ImplicitLocOpBuilder &b,
                   const BlockBuffers &buffers) const override {
    TileProducts(b).pairRows(buffers.queries, buffers.own[kQueryPairs]);
  }
  std::unique_ptr<KeyBlock> block(ImplicitLocOpBuilder &b,
                                  const BlockBuffers &buffers,
                                  Value from) const override {
    return std::make_unique<TileBlock>(b, shape, buffers, from);
  }
};
} // namespace

BlockFormPtr mlir::megactx::cpu::tileForm(const KernelShape &shape,
                                          int64_t vectors) {
  if (!fitTiles(shape))
    return nullptr;
  return std::make_unique<TileForm>(shape, vectors);
}

/// Whether the block's keys are equally far from each other in memory, and how
/// far, in elements.
std::pair<Value, Value> TileBlock::evenRows() {
  auto type = VectorType::get({kWords}, b.getIndexType());
  auto at = [&](Value n) -> Value {
    return vector::LoadOp::create(b, type, buffers.keyAt, n);
  };
  auto all = [&](Value x) -> Value {
    return vector::BroadcastOp::create(b, type, x);
  };
  Value first = memref::LoadOp::create(b, buffers.keyAt, a.c(0));
  Value stride = a.sub(memref::LoadOp::create(b, buffers.keyAt, a.c(1)), first);
  Value ramp =
      arith::MulIOp::create(b, vector::StepOp::create(b, type), all(stride));
  Value same;
  for (int64_t n = 0; n < kKeys; n += kWords) {
    Value begin = a.add(first, a.mul(a.c(n), stride));
    Value here = a.eq(at(a.c(n)), arith::AddIOp::create(b, ramp, all(begin)));
    same = same ? a.both(same, here) : here;
  }
  same = vector::ReductionOp::create(b, vector::CombiningKind::AND, same);
  return {same, stride};
}

/// Keys are multiplied where they are, but those that are not equally far from
/// each other, or whose columns do not fill tiles.
void TileBlock::emit(const Masks *masks) {
  TileProducts tiles(b);
  tiles.turn(valueRows(), buffers.own[kValueTile]);
  auto packed = [&] {
    tiles.pack(keyRows(), buffers.own[kKeyTile]);
    emitRows({buffers.own[kKeyTile], {a.c(0), a.c(0)}, Value()}, masks);
  };
  if (shape.headDim % kNarrow)
    return packed();
  auto [isEven, stride] = evenRows();
  emitIf(
      b, isEven,
      [&, stride = stride] {
        Value first = memref::LoadOp::create(b, buffers.keyAt, a.c(0));
        emitRows({buffers.keyData, {first}, stride}, masks);
      },
      packed);
}

void TileBlock::emitRows(const TileRows &keys, const Masks *masks) {
  int64_t vectors = vectorsAtOnce(buffers.form);
  emitFor(b, a.c(0), buffers.rowCount, vectors * kWords, [&](Value lane) {
    auto part = [&](Value n, int64_t count) {
      update({lane, vectors, n, a.add(n, a.c(count))}, count, keys, masks);
    };
    if (!masks)
      return part(a.c(0), kKeys);
    emitFor(b, a.c(0), a.c(kKeys), kPartKeys, [&](Value n) {
      emitIf(b, seesPart(lane, n), [&] { part(n, kPartKeys); });
    });
  });
}

/// Whether a row of those from the lane on may see a key of the part.
Value TileBlock::seesPart(Value lane, Value n) {
  Value vector = a.div(lane, a.c(kWords)), low, high;
  for (int64_t g = 0; g < vectorsAtOnce(buffers.form); ++g) {
    auto of = [&](Value bounds) -> Value {
      return memref::LoadOp::create(b, bounds, a.add(vector, a.c(g)));
    };
    Value itsLow = of(buffers.vectorLow), itsHigh = of(buffers.vectorHigh);
    low = low ? a.min(low, itsLow) : itsLow;
    high = high ? a.max(high, itsHigh) : itsHigh;
  }
  Value begin = a.add(from, n);
  return a.both(a.lt(low, a.add(begin, a.c(kPartKeys))), a.lt(begin, high));
}

/// The update by `count` keys from the part's first on.
void TileBlock::update(const Part &part, int64_t count, const TileRows &keys,
                       const Masks *masks) {
  TileProducts tiles(b);
  TileRows left = keys;
  Value begin = keys.stride ? a.mul(part.begin, keys.stride) : part.begin;
  left.at.front() = a.add(left.at.front(), begin);
  tiles.emit(
      left,
      {buffers.own[kQueryPairs], {a.c(0), a.mul(part.lane, a.c(2))}, Value()},
      {buffers.own[kScores], part.begin, count, a.c(0), part.vectors},
      llvm::alignTo(shape.headDim, kNarrow), /*adds=*/false);
  raiseTops(part, masks);
  pairExponentials(part, masks);
  tiles.emit(
      {buffers.own[kValueTile], {a.c(0), part.begin}, Value()},
      {buffers.own[kWeightPairs], {a.div(part.begin, a.c(2)), a.c(0)}, Value()},
      {buffers.acc, a.c(0), shape.valueDim, part.lane, part.vectors}, count,
      /*adds=*/true);
}

Value TileBlock::loadScore(Value n, int64_t g) {
  return vector::LoadOp::create(b, buffers.vector, buffers.own[kScores],
                                ValueRange{n, a.c(g * kWords)});
}

/// Of each lane, those before among them. Masked scores become what they are
/// after factor, biases and masks.
SmallVector<Value> TileBlock::maxima(const Part &part, ValueRange before,
                                     const Masks *masks) {
  constexpr int64_t kTurns = 4;
  Value scale = factor();
  float least = -std::numeric_limits<float>::infinity();
  SmallVector<Value> init(part.vectors, a.splat(least, buffers.vector));
  auto adjusted = [&](Value n, int64_t g) {
    Value s = arith::MulFOp::create(b, loadScore(n, g), scale);
    s = adjust(part, s, n, g, *masks);
    vector::StoreOp::create(b, s, buffers.own[kScores],
                            ValueRange{n, a.c(g * kWords)});
    return s;
  };
  SmallVector<Value> found =
      emitFor(b, part.begin, part.end, kTurns, init,
              [&](Value n, ValueRange best) -> SmallVector<Value> {
                SmallVector<Value> result(best);
                for (int64_t g = 0; g < part.vectors; ++g) {
                  SmallVector<Value> of;
                  for (int64_t i = 0; i < kTurns; ++i) {
                    Value key = a.add(n, a.c(i));
                    of.push_back(masks ? adjusted(key, g) : loadScore(key, g));
                  }
                  Value better =
                      a.fmax(a.fmax(of[0], of[1]), a.fmax(of[2], of[3]));
                  result[g] = a.fmax(better, best[g]);
                }
                return result;
              });
  for (auto [x, old] : llvm::zip_equal(found, before)) {
    if (!masks)
      x = arith::MulFOp::create(b, x, scale);
    x = a.fmax(x, old);
  }
  return found;
}

/// Raises `top`, and scales what was summed, where a score is far above it.
void TileBlock::raiseTops(const Part &part, const Masks *masks) {
  SmallVector<Value> before = loadState(part, buffers.top);
  SmallVector<Value> tops = maxima(part, before, masks);
  Value growth = a.splat(kGrowth, buffers.vector), some;
  for (auto [top, old] : llvm::zip_equal(tops, before)) {
    Value limit = arith::AddFOp::create(b, old, growth);
    Value grew =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, top, limit);
    top = a.select(grew, top, old);
    some = some ? arith::OrIOp::create(b, some, grew).getResult() : grew;
  }
  some = vector::ReductionOp::create(b, vector::CombiningKind::OR, some);
  emitIf(b, some, [&] {
    SmallVector<Value> decay, sums = loadState(part, buffers.sum);
    for (int64_t g = 0; g < part.vectors; ++g) {
      Value difference = arith::SubFOp::create(b, before[g], tops[g]);
      decay.push_back(emitExp2(b, difference));
      sums[g] = arith::MulFOp::create(b, sums[g], decay[g]);
    }
    storeState(part, sums, buffers.sum);
    storeState(part, tops, buffers.top);
    emitFor(b, a.c(0), a.c(shape.valueDim), 1, [&](Value d) {
      for (int64_t g = 0; g < part.vectors; ++g) {
        Value x = loadVector(part, buffers.acc, d, g);
        storeVector(part, arith::MulFOp::create(b, x, decay[g]), buffers.acc, d,
                    g);
      }
    });
  });
}

/// exp2(S - top) in pairs of keys into the weights, and added to the sums.
void TileBlock::pairExponentials(const Part &part, const Masks *masks) {
  Value scale = factor();
  SmallVector<Value> below;
  for (Value top : loadState(part, buffers.top))
    below.push_back(arith::NegFOp::create(b, top));
  auto weight = [&](Value n, int64_t g) {
    Value s = loadScore(n, g);
    Value x = masks ? arith::AddFOp::create(b, s, below[g]).getResult()
                    : vector::FMAOp::create(b, s, scale, below[g]);
    return emitNarrowExp2(b, x);
  };
  SmallVector<Value> sums =
      emitFor(b, part.begin, part.end, 2, loadState(part, buffers.sum),
              [&](Value n, ValueRange so) -> SmallVector<Value> {
                SmallVector<Value> result;
                for (int64_t g = 0; g < part.vectors; ++g) {
                  Value low = weight(n, g), high = weight(a.add(n, a.c(1)), g);
                  vector::StoreOp::create(
                      b, emitPairs(b, low, high), buffers.own[kWeightPairs],
                      ValueRange{a.div(n, a.c(2)), a.c(g * kNarrow)});
                  Value both = arith::AddFOp::create(b, low, high);
                  result.push_back(arith::AddFOp::create(b, so[g], both));
                }
                return result;
              });
  storeState(part, sums, buffers.sum);
}
