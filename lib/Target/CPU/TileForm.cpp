//===- TileForm.cpp - rows in the lanes, products by matrix tiles ---------===//
//
// Owns the form of tasks whose products are those of AMX's tiles, 16 rows of
// 16 words: of bf16, whose pairs of neighbours in a sum lie in a word.
//
//   S  = K Qt       keys as they are, the queries' columns in pairs
//   Ot = Vt P       values turned, weights of keys that follow in pairs
//
//===----------------------------------------------------------------------===//

#include "KeyBlock.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

/// Rows of a tile, which are as many words as f32 elements, or twice as many
/// bf16 elements.
static constexpr int64_t kTileRows = 16, kWords = 16, kNarrow = 2 * kWords;
/// A row's maximum stays as it was until another is as many powers of two
/// larger: sums need not be scaled for each key that is a little better.
static constexpr float kGrowth = 8;

namespace {
/// Of buffers, bf16; pairs of rows lie in words: [D / 2][2 rows], D rounded up
/// to 32, [keys][D], [Dv][keys], [keys / 2][2 rows].
enum Own { kQueryPairs, kKeyTile, kValueTile, kWeightPairs };

class TileBlock : public KeyBlock {
public:
  using KeyBlock::KeyBlock;

private:
  void emit(const Masks *masks) override;
  void packKeys();
  void turnValues();
  void tileProducts(Value left, Value right, Value to, bool adds);
  SmallVector<Value> scaleScores(const Part &part, ValueRange maxima,
                                 const Masks *masks);
  SmallVector<Value> pairExponentials(const Part &part, ValueRange sums,
                                      ValueRange maxima);
  void decaySums(const Part &part, ValueRange decay);
};

class TileForm : public BlockForm {
public:
  explicit TileForm(const KernelShape &shape) : BlockForm(shape, 4) {}
  StringRef name() const override { return "tiles"; }
  int64_t keys() const override { return 4 * kTileRows; }
  int64_t maskedKeys() const override { return keys(); }
  // Scores are scaled.
  float queryFactor() const override { return 1.0f; }
  SmallVector<MemRefType> ownBuffers(MLIRContext *context) const override {
    Type bf16 = BFloat16Type::get(context);
    int64_t columns = llvm::alignTo(shape.headDim, 2 * kTileRows);
    return {MemRefType::get({columns / 2, 2 * rows()}, bf16),
            MemRefType::get({keys(), columns}, bf16),
            MemRefType::get({shape.valueDim, keys()}, bf16),
            MemRefType::get({keys() / 2, 2 * rows()}, bf16)};
  }
  void readQueries(ImplicitLocOpBuilder &b,
                   const BlockBuffers &buffers) const override;
  std::unique_ptr<KeyBlock> block(ImplicitLocOpBuilder &b,
                                  const BlockBuffers &buffers,
                                  Value from) const override {
    return std::make_unique<TileBlock>(b, shape, buffers, from);
  }
};
} // namespace

Form mlir::megactx::cpu::tileForm(const KernelShape &shape) {
  if (!shape.tiles || shape.lanes != kWords || !shape.element.isBF16() ||
      shape.headDim % kWords || shape.valueDim % kWords)
    return nullptr;
  return std::make_unique<TileForm>(shape);
}

/// Two vectors of f32, lane by lane, as words of two bf16.
static Value pairUp(ImplicitLocOpBuilder &b, Value low, Value high) {
  auto type = VectorType::get({kWords}, b.getBF16Type());
  auto narrow = [&](Value x) -> Value {
    return x86vector::CvtPackedF32ToBF16Op::create(b, type, x);
  };
  return vector::InterleaveOp::create(b, narrow(low), narrow(high));
}

/// The queries' columns in pairs.
void TileForm::readQueries(ImplicitLocOpBuilder &b,
                           const BlockBuffers &buffers) const {
  Arith a{b};
  Value queryPairs = buffers.own[kQueryPairs];
  auto eachVector = [&](Value pair, function_ref<Value(Value)> of) {
    for (int64_t g = 0; g < vectors; ++g)
      vector::StoreOp::create(b, of(a.c(g * kWords)), queryPairs,
                              ValueRange{pair, a.c(g * kNarrow)});
  };
  int64_t pairs = shape.headDim / 2;
  emitFor(b, a.c(0), a.c(pairs), 1, [&](Value pair) {
    eachVector(pair, [&](Value lane) {
      auto row = [&](int64_t i) -> Value {
        Value d = a.add(a.mul(pair, a.c(2)), a.c(i));
        return vector::LoadOp::create(b, buffers.vector, buffers.queries,
                                      ValueRange{d, lane});
      };
      return pairUp(b, row(0), row(1));
    });
  });
  Value none = a.splat(0.0f, buffers.vector);
  int64_t all = cast<MemRefType>(queryPairs.getType()).getDimSize(0);
  for (int64_t pair = pairs; pair < all; ++pair)
    eachVector(a.c(pair), [&](Value) { return pairUp(b, none, none); });
}

/// The block's keys one after another, columns past theirs 0.
void TileBlock::packKeys() {
  auto type = VectorType::get({kWords}, b.getBF16Type());
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(type));
  int64_t columns =
      cast<MemRefType>(buffers.own[kKeyTile].getType()).getDimSize(1);
  emitFor(b, a.c(0), a.c(buffers.form.keys()), 1, [&](Value n) {
    Value at = memref::LoadOp::create(b, buffers.keyAt, n);
    for (int64_t d = 0; d < columns; d += kWords) {
      Value x = none;
      if (d < shape.headDim)
        x = vector::LoadOp::create(b, type, buffers.keyData, a.add(at, a.c(d)));
      vector::StoreOp::create(b, x, buffers.own[kKeyTile],
                              ValueRange{n, a.c(d)});
    }
  });
}

/// The block's values, a row for each column.
void TileBlock::turnValues() {
  auto type = VectorType::get({kWords}, b.getBF16Type());
  auto words = VectorType::get({kWords}, b.getI32Type());
  auto row = VectorType::get({kNarrow}, b.getBF16Type());
  auto turn = [&](Value n, Value d) {
    SmallVector<Value> square;
    for (int64_t pair = 0; pair < kWords; ++pair) {
      auto of = [&](int64_t i) -> Value {
        Value at = memref::LoadOp::create(b, buffers.valueAt,
                                          a.add(n, a.c(2 * pair + i)));
        return vector::LoadOp::create(b, type, buffers.valueData, a.add(at, d));
      };
      Value both = vector::InterleaveOp::create(b, of(0), of(1));
      square.push_back(vector::BitCastOp::create(b, words, both));
    }
    for (auto [i, x] : llvm::enumerate(emitTranspose(b, square)))
      vector::StoreOp::create(b, vector::BitCastOp::create(b, row, x),
                              buffers.own[kValueTile],
                              ValueRange{a.add(d, a.c(i)), n});
  };
  emitFor(b, a.c(0), a.c(buffers.form.keys()), kNarrow, [&](Value n) {
    emitFor(b, a.c(0), a.c(shape.valueDim), kWords,
            [&](Value d) { turn(n, d); });
  });
}

/// to [rows][columns] = left [rows][depth] times right [depth / 2][2 columns],
/// pairs in words; or, with `adds`, plus that. Four tiles of sums, and two of
/// either side, fill the eight registers.
void TileBlock::tileProducts(Value left, Value right, Value to, bool adds) {
  auto narrow = amx::TileType::get({kTileRows, kNarrow}, b.getBF16Type());
  auto wide = amx::TileType::get({kTileRows, kWords}, b.getF32Type());
  auto load = [&](Type type, Value from, Value i, Value j) -> Value {
    return amx::TileLoadOp::create(b, type, from, ValueRange{i, j});
  };
  int64_t depth = cast<MemRefType>(left.getType()).getDimSize(1);
  ArrayRef<int64_t> sizes = cast<MemRefType>(to.getType()).getShape();
  auto block = [&](Value i, int64_t high, Value j) {
    auto below = [&](int64_t h) { return a.add(i, a.c(h * kTileRows)); };
    auto beside = [&](int64_t w) { return a.add(j, a.c(w * kWords)); };
    SmallVector<Value> sums;
    for (int64_t h = 0; h < high; ++h)
      for (int64_t w = 0; w < 2; ++w)
        sums.push_back(adds ? load(wide, to, below(h), beside(w))
                            : amx::TileZeroOp::create(b, wide).getResult());
    for (int64_t k = 0; k < depth; k += kNarrow) {
      SmallVector<Value> columns;
      for (int64_t w = 0; w < 2; ++w)
        columns.push_back(
            load(narrow, right, a.c(k / 2), a.mul(beside(w), a.c(2))));
      for (int64_t h = 0; h < high; ++h) {
        Value rows = load(narrow, left, below(h), a.c(k));
        for (int64_t w = 0; w < 2; ++w) {
          Value &sum = sums[2 * h + w];
          sum = amx::TileMulFOp::create(b, wide, rows, columns[w], sum);
        }
      }
    }
    for (int64_t h = 0; h < high; ++h)
      for (int64_t w = 0; w < 2; ++w)
        amx::TileStoreOp::create(b, to, ValueRange{below(h), beside(w)},
                                 sums[2 * h + w]);
  };
  int64_t whole = sizes[0] / (2 * kTileRows) * (2 * kTileRows);
  emitFor(b, a.c(0), a.c(sizes[1]), 2 * kWords, [&](Value j) {
    emitFor(b, a.c(0), a.c(whole), 2 * kTileRows,
            [&](Value i) { block(i, 2, j); });
    if (whole < sizes[0])
      block(a.c(whole), 1, j);
  });
}

/// The products in `scores` times the scale, masked and biased as the scratch
/// says; returns the maxima of each lane, those so far among them.
SmallVector<Value> TileBlock::scaleScores(const Part &part, ValueRange maxima,
                                          const Masks *masks) {
  Value factor =
      a.splat(shape.scale * static_cast<float>(M_LOG2E), buffers.vector);
  return emitFor(b, part.begin, part.end, 1, maxima,
                 [&](Value n, ValueRange best) -> SmallVector<Value> {
                   SmallVector<Value> result;
                   for (int64_t g = 0; g < part.vectors; ++g) {
                     Value s = loadVector(part, buffers.scores, n, g);
                     s = arith::MulFOp::create(b, s, factor);
                     if (masks)
                       s = adjust(part, s, n, g, *masks);
                     storeVector(part, s, buffers.scores, n, g);
                     result.push_back(a.fmax(s, best[g]));
                   }
                   return result;
                 });
}

/// exp2(S - max) in pairs of keys into `weightPairs`; returns the sums.
SmallVector<Value> TileBlock::pairExponentials(const Part &part,
                                               ValueRange sums,
                                               ValueRange maxima) {
  return emitFor(
      b, part.begin, part.end, 2, sums,
      [&](Value n, ValueRange so) -> SmallVector<Value> {
        SmallVector<Value> result;
        for (int64_t g = 0; g < part.vectors; ++g) {
          auto weight = [&](int64_t i) -> Value {
            Value s = loadVector(part, buffers.scores, a.add(n, a.c(i)), g);
            return emitExp2(b, arith::SubFOp::create(b, s, maxima[g]));
          };
          Value low = weight(0), high = weight(1);
          vector::StoreOp::create(
              b, pairUp(b, low, high), buffers.own[kWeightPairs],
              ValueRange{a.div(n, a.c(2)), a.c(g * kNarrow)});
          Value both = arith::AddFOp::create(b, low, high);
          result.push_back(arith::AddFOp::create(b, so[g], both));
        }
        return result;
      });
}

/// `acc` times the decay, where that is not 1 in every lane.
void TileBlock::decaySums(const Part &part, ValueRange decay) {
  Value least = decay.front();
  for (Value x : decay.drop_front())
    least = arith::MinimumFOp::create(b, least, x);
  least =
      vector::ReductionOp::create(b, vector::CombiningKind::MINIMUMF, least);
  Value some =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, least, a.f32(1.0f));
  emitIf(b, some, [&] {
    emitFor(b, a.c(0), a.c(shape.valueDim), 1, [&](Value d) {
      for (int64_t g = 0; g < part.vectors; ++g) {
        Value x = loadVector(part, buffers.acc, d, g);
        storeVector(part, arith::MulFOp::create(b, x, decay[g]), buffers.acc, d,
                    g);
      }
    });
  });
}

void TileBlock::emit(const Masks *masks) {
  Part all = whole();
  packKeys();
  tileProducts(buffers.own[kKeyTile], buffers.own[kQueryPairs], buffers.scores,
               /*adds=*/false);
  SmallVector<Value> maxima = loadState(all, buffers.top);
  SmallVector<Value> sums = loadState(all, buffers.sum);
  SmallVector<Value> tops = scaleScores(all, maxima, masks), decay;
  Value growth = a.splat(kGrowth, buffers.vector);
  for (int64_t g = 0; g < all.vectors; ++g) {
    Value limit = arith::AddFOp::create(b, maxima[g], growth);
    Value grew =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, tops[g], limit);
    tops[g] = a.select(grew, tops[g], maxima[g]);
    Value difference = arith::SubFOp::create(b, maxima[g], tops[g]);
    decay.push_back(emitExp2(b, difference));
    sums[g] = arith::MulFOp::create(b, sums[g], decay[g]);
  }
  storeState(all, pairExponentials(all, sums, tops), buffers.sum);
  storeState(all, tops, buffers.top);
  decaySums(all, decay);
  turnValues();
  tileProducts(buffers.own[kValueTile], buffers.own[kWeightPairs], buffers.acc,
               /*adds=*/true);
}
