//===- TileGradient.cpp - gradients by matrix tiles -----------------------===//
//
// Owns the form of tasks of gradients whose products are those of matrix tiles
// of bf16, P and dX rounded to it:
//
//   S, dP          A, B packed, the lanes' columns in pairs
//   sumA, sumB     A, B turned, dX and P in pairs of rows
//
//===----------------------------------------------------------------------===//

#include "GradientBlock.h"
#include "TileProducts.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

/// Of a block.
static constexpr int64_t kRows = 4 * kTileRows;
/// Of vectors that are computed at once, and their lanes.
static constexpr int64_t kVectors = 2, kLanes = kVectors * kWords;

namespace {
/// Of buffers: lanes [dim / 2][2 M], rows packed [rows][dim] and turned
/// [dim][rows], dim rounded up to 32 but where they are turned; P and dX
/// [rows / 2][2 * 32], all bf16; S and dP [rows][32], f32.
enum Own {
  kLaneA,
  kLaneB,
  kPackedA,
  kPackedB,
  kTurnedA,
  kTurnedB,
  kWeights,
  kSlopes,
  kScores,
  kProducts
};

class TileGradientBlock : public GradientBlock {
public:
  using GradientBlock::GradientBlock;

private:
  void emit(Value count, const Masks *masks) override;
  Value power(Value x) override { return emitNarrowExp2(b, x); }
  void addLanes(int64_t vector, const Masks *masks);
  void slopesOfPair(Value n, int64_t vector, int64_t g, const Masks *masks);
};

class TileGradientForm : public GradientForm {
public:
  using GradientForm::GradientForm;
  StringRef name() const override { return "tiles"; }
  int64_t blockRows() const override { return kRows; }
  int64_t rowStep() const override { return kRows; }
  // Rounded lanes are to stay exact: scores are scaled.
  float laneFactor() const override { return 1.0f; }
  SmallVector<MemRefType> ownBuffers(MLIRContext *context) const override {
    Type bf16 = BFloat16Type::get(context), f32 = Float32Type::get(context);
    int64_t a = shape.headDim, b = shape.valueDim;
    int64_t wideA = llvm::alignTo(a, kNarrow),
            wideB = llvm::alignTo(b, kNarrow);
    auto narrow = [&](int64_t rows, int64_t columns) {
      return MemRefType::get({rows, columns}, bf16);
    };
    auto wide = MemRefType::get({kRows, kLanes}, f32);
    return {narrow(wideA / 2, 2 * lanes()),
            narrow(wideB / 2, 2 * lanes()),
            narrow(kRows, wideA),
            narrow(kRows, wideB),
            narrow(a, kRows),
            narrow(b, kRows),
            narrow(kRows / 2, 2 * kLanes),
            narrow(kRows / 2, 2 * kLanes),
            wide,
            wide};
  }
  void readLanes(ImplicitLocOpBuilder &b,
                 const GradientBuffers &buffers) const override {
    TileProducts(b).pairRows(buffers.laneA, buffers.own[kLaneA]);
    TileProducts(b).pairRows(buffers.laneB, buffers.own[kLaneB]);
  }
  std::unique_ptr<GradientBlock> block(ImplicitLocOpBuilder &b,
                                       const GradientBuffers &buffers,
                                       Value dataA,
                                       Value dataB) const override {
    return std::make_unique<TileGradientBlock>(b, shape, buffers, dataA, dataB);
  }
};
} // namespace

GradientFormPtr mlir::megactx::cpu::tileGradientForm(const KernelShape &shape,
                                                     int64_t vectors) {
  // A bias is given dS as it is, not rounded.
  if (!fitTiles(shape) || shape.result == KernelResult::BiasGradient)
    return nullptr;
  return std::make_unique<TileGradientForm>(shape, vectors);
}

void TileGradientBlock::emit(Value count, const Masks *masks) {
  TableRows rowsA{dataA, buffers.placeA, shape.headDim},
      rowsB{dataB, buffers.placeB, shape.valueDim};
  TileProducts tiles(b);
  tiles.pack(rowsA, buffers.own[kPackedA]);
  tiles.pack(rowsB, buffers.own[kPackedB]);
  tiles.turn(rowsA, buffers.own[kTurnedA]);
  if (buffers.sumB)
    tiles.turn(rowsB, buffers.own[kTurnedB]);
  for (int64_t vector = 0; vector < buffers.vectors; vector += kVectors)
    addLanes(vector, masks);
}

/// What the rows give to those lanes from a vector on.
void TileGradientBlock::addLanes(int64_t vector, const Masks *masks) {
  TileProducts tiles(b);
  ArrayRef<Value> own = buffers.own;
  Value none = a.c(0), lane = a.c(vector * kWords);
  auto multiply = [&](Own left, Own right, Own to, int64_t dim) {
    tiles.emit({own[left], {none, none}, Value()},
               {own[right], {none, a.c(vector * kNarrow)}, Value()},
               {own[to], none, kRows, none, kVectors},
               llvm::alignTo(dim, kNarrow),
               /*adds=*/false);
  };
  multiply(kPackedA, kLaneA, kScores, shape.headDim);
  multiply(kPackedB, kLaneB, kProducts, shape.valueDim);
  emitFor(b, none, a.c(kRows), 2, [&](Value n) {
    for (int64_t g = 0; g < kVectors; ++g)
      slopesOfPair(n, vector, g, masks);
  });
  auto add = [&](Own left, Own right, Value to, int64_t dim) {
    tiles.emit({own[left], {none, none}, Value()},
               {own[right], {none, none}, Value()},
               {to, none, dim, lane, kVectors}, kRows, /*adds=*/true);
  };
  add(kTurnedA, kSlopes, buffers.sumA, shape.headDim);
  if (buffers.sumB)
    add(kTurnedB, kWeights, buffers.sumB, shape.valueDim);
}

/// P and dX of two rows and a vector of lanes, in words.
void TileGradientBlock::slopesOfPair(Value n, int64_t vector, int64_t g,
                                     const Masks *masks) {
  LaneSpan span{a.c(0), buffers.vectors};
  Value factor = a.splat(shape.scaleBase2(), buffers.vector);
  SmallVector<Value> weights, slopes;
  for (int64_t i = 0; i < 2; ++i) {
    Value row = a.add(n, a.c(i));
    auto load = [&](Own from) -> Value {
      return vector::LoadOp::create(b, buffers.vector, buffers.own[from],
                                    ValueRange{row, a.c(g * kWords)});
    };
    int64_t lanes = vector + g;
    Value s = arith::MulFOp::create(b, load(kScores), factor);
    Value p = weight(s, row, lanes, masks);
    Value difference = arith::SubFOp::create(
        b, load(kProducts), perQuery(buffers.delta, row, lanes));
    Value dx = arith::MulFOp::create(b, p, difference);
    if (hasSlope())
      dx = arith::MulFOp::create(
          b, dx, products.load(buffers.slopes, row, span, lanes));
    weights.push_back(p);
    slopes.push_back(dx);
  }
  auto store = [&](ArrayRef<Value> rows, Own to) {
    vector::StoreOp::create(b, emitPairs(b, rows[0], rows[1]), buffers.own[to],
                            ValueRange{a.div(n, a.c(2)), a.c(g * kNarrow)});
  };
  store(slopes, kSlopes);
  if (buffers.sumB)
    store(weights, kWeights);
}
