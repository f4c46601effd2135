//===- RowForm.cpp - few rows, row by row ---------------------------------===//
//
// Owns the form of tasks whose rows are few. Where a task has fewer rows than
// would fill the lanes, as in decoding, keys and values are read with their own
// columns in the lanes, row after row:
//
//   S[n][m]    = sum of K[n][:] * Q[m][:]
//   O[m][:]   += P[n][m] * V[n][:]
//
// Masks and exponentials are those of all blocks.
//
//===----------------------------------------------------------------------===//

#include "TileProducts.h"
#include "VectorBlock.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

/// Vectors that are summed at once.
static constexpr int64_t kSums = 8;

/// to[j][i] = from[i][j] for so many rows i and columns j.
static void turn(ImplicitLocOpBuilder &b, Value from, Value to, Value rows,
                 Value columns) {
  Arith a{b};
  emitFor(b, a.c(0), rows, 1, [&](Value i) {
    emitFor(b, a.c(0), columns, 1, [&](Value j) {
      Value x = memref::LoadOp::create(b, from, ValueRange{i, j});
      memref::StoreOp::create(b, x, to, ValueRange{j, i});
    });
  });
}

namespace {
/// Of buffers: [rows][D] and [rows][Dv] f32.
enum Own { kQueryRows, kAccRows };

class RowBlock : public VectorBlock {
public:
  using VectorBlock::VectorBlock;

private:
  void enter(const Part &part) override;
  SmallVector<Value> products(const Part &part, Value n,
                              int64_t count) override;
  void accumulate(const Part &part, ValueRange decay) override;
  void columnsOfRow(const Part &part, Value row, Value d, Type type,
                    int64_t number, Value factor);
  void prefetch(Value data, Value next, Value n, Value d, int64_t columns);
};

class RowForm : public BlockForm {
public:
  explicit RowForm(const KernelShape &shape) : BlockForm(shape, 1) {}
  StringRef name() const override { return "row by row"; }
  // From where on lanes, or tiles, are faster.
  int64_t mostRows() const override {
    return std::max<int64_t>(shape.lanes / (fitTiles(shape) ? 8 : 4), 1);
  }
  int64_t keysAhead() const override { return kBlockKeys; }
  // Loops over the columns of one row wait for memory.
  bool unrolls() const override { return true; }
  SmallVector<MemRefType> ownBuffers(MLIRContext *context) const override {
    Type f32 = Float32Type::get(context);
    return {MemRefType::get({mostRows(), shape.headDim}, f32),
            MemRefType::get({mostRows(), shape.valueDim}, f32)};
  }
  void start(ImplicitLocOpBuilder &b,
             const BlockBuffers &buffers) const override;
  void readQueries(ImplicitLocOpBuilder &b,
                   const BlockBuffers &buffers) const override {
    Value columns = memref::DimOp::create(b, buffers.queries, 0);
    turn(b, buffers.queries, buffers.own[kQueryRows], columns,
         buffers.rowCount);
  }
  void writeSums(ImplicitLocOpBuilder &b,
                 const BlockBuffers &buffers) const override {
    Value columns = memref::DimOp::create(b, buffers.acc, 0);
    turn(b, buffers.own[kAccRows], buffers.acc, buffers.rowCount, columns);
  }
  std::unique_ptr<KeyBlock> block(ImplicitLocOpBuilder &b,
                                  const BlockBuffers &buffers,
                                  Value from) const override {
    return std::make_unique<RowBlock>(b, shape, buffers, from);
  }
};
} // namespace

void RowForm::start(ImplicitLocOpBuilder &b,
                    const BlockBuffers &buffers) const {
  Arith a{b};
  Value none = a.f32(0), zero = a.splat(0.0f, buffers.vector);
  emitFor(b, a.c(0), buffers.rowCount, 1, [&](Value row) {
    emitFor(b, a.c(0), a.c(shape.valueDim), 1, [&](Value d) {
      memref::StoreOp::create(b, none, buffers.own[kAccRows],
                              ValueRange{row, d});
    });
  });
  // Lanes without a row are computed on and never stored.
  emitFor(b, a.c(0), a.c(kBlockKeys), 1, [&](Value n) {
    vector::StoreOp::create(b, zero, buffers.scores, ValueRange{n, a.c(0)});
  });
}

void RowBlock::enter(const Part &part) {
  static_assert(kBlockKeys % kSums == 0);
  int64_t whole = shape.headDim / shape.lanes * shape.lanes;
  Value zero = a.splat(0.0f, buffers.vector);
  emitFor(b, part.begin, part.end, kSums, [&](Value n) {
    SmallVector<Value> at;
    for (int64_t i = 0; i < kSums; ++i) {
      Value key = a.add(n, a.c(i));
      at.push_back(memref::LoadOp::create(b, buffers.keyAt, key));
      prefetch(buffers.keyData, buffers.keyNext, key, a.c(0), shape.headDim);
    }
    emitFor(b, a.c(0), buffers.rowCount, 1, [&](Value row) {
      SmallVector<Value> sums = emitFor(
          b, a.c(0), a.c(whole), shape.lanes, SmallVector<Value>(kSums, zero),
          [&](Value d, ValueRange so) -> SmallVector<Value> {
            Value q = vector::LoadOp::create(
                b, buffers.vector, buffers.own[kQueryRows], ValueRange{row, d});
            SmallVector<Value> next;
            for (int64_t i = 0; i < kSums; ++i) {
              Value k =
                  loadF32(b, buffers.vector, buffers.keyData, a.add(at[i], d));
              next.push_back(vector::FMAOp::create(b, k, q, so[i]));
            }
            return next;
          });
      for (int64_t i = 0; i < kSums; ++i) {
        Value sum =
            vector::ReductionOp::create(b, vector::CombiningKind::ADD, sums[i],
                                        arith::FastMathFlags::reassoc);
        auto rest = [&](Value d, ValueRange so) -> SmallVector<Value> {
          Value q = memref::LoadOp::create(b, buffers.own[kQueryRows],
                                           ValueRange{row, d});
          Value k =
              loadF32(b, b.getF32Type(), buffers.keyData, a.add(at[i], d));
          Value product = arith::MulFOp::create(b, k, q);
          return {arith::AddFOp::create(b, so[0], product)};
        };
        if (whole < shape.headDim)
          sum = emitFor(b, a.c(whole), a.c(shape.headDim), 1, ValueRange{sum},
                        rest)[0];
        memref::StoreOp::create(b, sum, buffers.scores,
                                ValueRange{a.add(n, a.c(i)), row});
      }
    });
  });
}

SmallVector<Value> RowBlock::products(const Part &part, Value n,
                                      int64_t count) {
  SmallVector<Value> sums;
  for (int64_t r = 0; r < count; ++r)
    sums.push_back(loadVector(part, buffers.scores, a.add(n, a.c(r)), 0));
  return sums;
}

/// So many columns of the row that is at the place of `n` in the next block: it
/// comes while this block is computed on, and from memory without a pause.
void RowBlock::prefetch(Value data, Value next, Value n, Value d,
                        int64_t columns) {
  Value at = memref::LoadOp::create(b, next, n);
  emitPrefetch(b, data, a.add(at, d), columns);
}

void RowBlock::accumulate(const Part &part, ValueRange decay) {
  // The store's scratch is free until then.
  vector::StoreOp::create(b, decay[0], buffers.inverse, a.c(0));
  VectorType vector = buffers.vector;
  Type single = b.getF32Type();
  int64_t lanes = shape.lanes, step = kSums * lanes;
  int64_t most = shape.valueDim / step * step;
  int64_t whole = shape.valueDim / lanes * lanes;
  emitFor(b, a.c(0), buffers.rowCount, 1, [&](Value row) {
    Value factor = memref::LoadOp::create(b, buffers.inverse, row);
    emitFor(b, a.c(0), a.c(most), step, [&](Value d) {
      columnsOfRow(part, row, d, vector, kSums, factor);
    });
    if (most < whole)
      columnsOfRow(part, row, a.c(most), vector, (whole - most) / lanes,
                   factor);
    emitFor(b, a.c(whole), a.c(shape.valueDim), 1,
            [&](Value d) { columnsOfRow(part, row, d, single, 1, factor); });
  });
}

/// O[row][d ...]: `number` vectors, or one column.
void RowBlock::columnsOfRow(const Part &part, Value row, Value d, Type type,
                            int64_t number, Value factor) {
  bool isVector = isa<VectorType>(type);
  auto spread = [&](Value x) -> Value {
    return isVector ? vector::BroadcastOp::create(b, type, x) : x;
  };
  auto place = [&](int64_t i) { return a.add(d, a.c(i * shape.lanes)); };
  SmallVector<Value> sums;
  for (int64_t i = 0; i < number; ++i) {
    Value old =
        loadF32(b, type, buffers.own[kAccRows], ValueRange{row, place(i)});
    sums.push_back(arith::MulFOp::create(b, old, spread(factor)));
  }
  sums = emitFor(
      b, part.begin, part.end, 1, sums,
      [&](Value n, ValueRange so) -> SmallVector<Value> {
        Value at = memref::LoadOp::create(b, buffers.valueAt, n);
        prefetch(buffers.valueData, buffers.valueNext, n, d,
                 isVector ? number * shape.lanes : 1);
        Value p = spread(
            memref::LoadOp::create(b, buffers.scores, ValueRange{n, row}));
        SmallVector<Value> next;
        for (auto [i, sum] : llvm::enumerate(so)) {
          Value v = loadF32(b, type, buffers.valueData, a.add(at, place(i)));
          if (isVector)
            next.push_back(vector::FMAOp::create(b, p, v, sum));
          else
            next.push_back(
                arith::AddFOp::create(b, sum, arith::MulFOp::create(b, p, v)));
        }
        return next;
      });
  for (auto [i, sum] : llvm::enumerate(sums))
    storeF32(b, sum, buffers.own[kAccRows], ValueRange{row, place(i)});
}

BlockFormPtr mlir::megactx::cpu::rowForm(const KernelShape &shape) {
  return std::make_unique<RowForm>(shape);
}
