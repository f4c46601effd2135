//===- KernelBlock.h - one block of keys ------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_CPU_KERNELBLOCK_H
#define MEGACTX_LIB_TARGET_CPU_KERNELBLOCK_H

#include "../Common/KeyViews.h"
#include "Kernel.h"
#include "KernelParts.h"
#include "LaneProducts.h"
#include "Scratch.h"

namespace mlir::megactx::cpu {

/// Keys per block (a multiple of those summed at once), and those of masked
/// blocks that are summed at once.
constexpr int64_t kBlockKeys = 72;
constexpr int64_t kMaskedKeys = 8;
/// Of a matrix tile.
constexpr int64_t kTileRows = 16;

/// How a task's rows are laid out: so many vectors with a row in each lane; or,
/// for the few rows of a single vector, row by row; or so that products are
/// those of matrix tiles.
struct BlockForm {
  int64_t vectors;
  bool byRow = false;
  bool byTile = false;
  /// Whether the target has tiles for kernels of the shape.
  static bool fitsTiles(const KernelShape &shape);
  /// Keys per block, and how many of them a vector has at once in masked ones.
  int64_t keys() const { return byTile ? 4 * kTileRows : kBlockKeys; }
  int64_t maskedKeys() const { return byTile ? keys() : kMaskedKeys; }
  /// The most rows of a class for which this is the form of choice.
  int64_t mostRows(int64_t lanes) const {
    return byRow ? std::max<int64_t>(lanes / 4, 1) : vectors * lanes;
  }
};

/// A task's scratch: one run of bytes on its stack, cut into buffers.
struct BlockBuffers {
  /// The buffers of a task; or, with `scratch`, those of the task that has
  /// given it to a part of the kernel.
  BlockBuffers(ImplicitLocOpBuilder &b, const KernelShape &shape,
               BlockForm form, Value scratch = {});
  /// Makes keys and values of one head readable at flat offsets.
  void bindRows(ImplicitLocOpBuilder &b, Value key, Value value, Value batch,
                Value head);
  /// Between the lanes and the rows of their own that a task by row works on.
  void turnQueries(ImplicitLocOpBuilder &b) const;
  void turnResults(ImplicitLocOpBuilder &b) const;
  /// The queries' columns in pairs, for a task by tile.
  void pairQueries(ImplicitLocOpBuilder &b) const;

  BlockForm form;
  int64_t rows; ///< lanes of all vectors
  VectorType vector;
  Value scratch;       ///< memref<?xi8>: holds all that follow
  Value queries;       ///< [D][rows] f32, times scale and log2(e) but by tile
  Value acc;           ///< [Dv][rows] f32
  Value scores;        ///< [keys][rows] f32
  Value top, sum;      ///< [rows] f32: maximum and sum so far
  Value allowed;       ///< [keys][rows] i32: what a test says
  Value rowBiases;     ///< [keys][rows] f32
  Value keyBiases;     ///< [keys] f32
  Value rowOf, headOf; ///< [rows] index: each lane's row, its head
  Value low, high;     ///< [rows] i32: bounds of each lane
  Value vectorLow, vectorHigh;  ///< [vectors] index: hulls of their lanes'
  Value inverse, total;         ///< [rows] f32: 1 / sum, log-sum-exp
  Value old;                    ///< [rows] f32: of what `out` holds already
  Value turned;                 ///< [lanes][Dv] f32: rows of `acc`
  Value rowCount;               ///< how many of the lanes have a row
  Value queryRows;              ///< by row: [rows][D] f32
  Value accRows;                ///< by row: [rows][Dv] f32
  Value keyRow, keyAt, valueAt; ///< [keys] index
  Value keyNext, valueNext;     ///< by row: places of the block after this one
  /// By tile, bf16; pairs of rows lie in words: [D / 2][2 rows], D rounded up
  /// to 32, [keys][D], [Dv][keys], [keys / 2][2 rows].
  Value queryPairs, keyTile, valueTile, weightPairs;
  Value keyData, valueData, keyStride, valueStride;
};

/// What elements of a masked block depend on.
struct ElementContext {
  pattern::Expr test;
  ExprLeaves leaves;
  ArrayRef<Value> biases;
  const KeyViews &views;
};

/// Emits the update of (top, sum, accumulator) by one block of keys.
class KeyBlock {
public:
  KeyBlock(ImplicitLocOpBuilder &b, const KernelShape &shape,
           const BlockBuffers &buffers, Value from)
      : b(b), a{b}, lanes(b, buffers.vector), shape(shape), buffers(buffers),
        from(from) {}

  /// A block that every row sees whole: no mask code at all.
  void callFull(KernelParts &parts);
  /// Any block, vector by vector: of each only the keys that its rows see.
  void callMasked(KernelParts &parts, const ElementContext &element);

private:
  /// What is computed at once: the keys [begin, end) of the block with the rows
  /// of so many vectors from a lane on.
  struct Part {
    Value lane;
    int64_t vectors;
    Value begin, end;
    LaneSpan span() const { return {lane, vectors}; }
  };
  TableRows keyRows() const {
    return {buffers.keyData, buffers.keyAt, shape.headDim};
  }
  TableRows valueRows() const {
    return {buffers.valueData, buffers.valueAt, shape.valueDim};
  }
  /// What a masked block looks up.
  struct Masks {
    bool test, biasPerRow, biasPerKey;
  };
  void call(KernelParts &parts, const Twine &key,
            function_ref<void(KeyBlock &)> body);
  void eachVector(function_ref<void(const Part &)> body);
  void evaluate(const Part &part, const ElementContext &element);
  void emit(const Part &part, const Masks *masks);
  SmallVector<Value> scores(const Part &part, ValueRange maxima,
                            const Masks *masks);
  Value adjust(const Part &part, Value s, Value key, int64_t g,
               const Masks &masks);
  /// A bias of the context's batch and head, as flat elements.
  struct BiasView {
    Value data, lastRow, lastKey, rowStride, keyStride;
    bool perKey;
  };
  SmallVector<BiasView> viewsOf(const ElementContext &element);
  void sumBiases(const Part &part, Value n, Value keyRow,
                 ArrayRef<BiasView> biases);
  SmallVector<Value> exponentials(const Part &part, ValueRange sums,
                                  ValueRange maxima);
  void emitByTile(const Masks *masks);
  void packKeys();
  void turnValues();
  void tileProducts(Value left, Value right, Value to, bool adds);
  SmallVector<Value> scaleScores(const Part &part, ValueRange maxima,
                                 const Masks *masks);
  SmallVector<Value> pairExponentials(const Part &part, ValueRange sums,
                                      ValueRange maxima);
  void decaySums(const Part &part, ValueRange decay);
  void productsByRow(const Part &part);
  void accumulateByRow(const Part &part, ValueRange decay);
  void columnsOfRow(const Part &part, Value row, Value d, Type type,
                    int64_t number, Value factor);
  void prefetch(Value data, Value next, Value n, Value d, int64_t columns);
  Value laneOf(const Part &part, int64_t g) const;
  Value loadVector(const Part &part, Value from, Value row, int64_t g);
  void storeVector(const Part &part, Value x, Value to, Value row, int64_t g);
  SmallVector<Value> loadState(const Part &part, Value from);
  void storeState(const Part &part, ValueRange state, Value to);

  ImplicitLocOpBuilder &b;
  Arith a;
  LaneProducts lanes;
  const KernelShape &shape;
  const BlockBuffers &buffers;
  Value from;
};

} // namespace mlir::megactx::cpu

#endif
