//===- Fragments.h - what a warp computes with a tile -----------*- C++ -*-===//
//
// Owns the interface between the skeleton of a kernel and what it computes, by
// whatever instructions: a warp's 16 rows in fragments, of which lane l holds
// the rows l / 4 and l / 4 + 8 and, of each 8 columns, 2 (l mod 4) and the
// next.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_FRAGMENTS_H
#define MEGACTX_LIB_TARGET_NVGPU_FRAGMENTS_H

#include "../Common/Emit.h"
#include "Kernel.h"
#include "WarpProducts.h"

namespace mlir::megactx::nvgpu {

/// What lanes hold: of attention, of the lane's two rows what weights are
/// relative to, near their maxima, and sums (over the lane's own columns); the
/// 16x8 tiles of the output, and weights whose product with their values is
/// left to the next turn.
struct State {
  Value max, sum; ///< null of gradients
  SmallVector<Value> out, due;
  SmallVector<Value> pack() const;
  /// A state of the same form with other values.
  State unpack(ValueRange values) const;
};

/// What a tile's scores come to: weights, by what each row's output so far
/// shrinks, and (i1, the same in all of the warp) whether any row's does.
struct Softmax {
  SmallVector<Value> weights;
  Value decay, grew;
};

/// What a turn of the loop over tiles does besides products.
struct Turn {
  /// Rows of shared memory: of the tile's keys, and of the values of the tile
  /// `Tiling::valueLag` turns ago.
  Value keyRow, valueRow;
  /// Scores of the tile from its products of queries and keys.
  function_ref<SmallVector<Value>(ValueRange)> scores;
  /// Are called before products are started, and once they are.
  function_ref<void()> takeTurn, passTurn;
  /// Takes the gradients of the tile's scores: of biases' gradients.
  function_ref<void(ValueRange)> takeSlopes;
  /// Starts the copies for a later turn; is called once.
  function_ref<void()> copyNext;
  /// Is called once nothing of the turn reads shared memory any more.
  function_ref<void()> release;
};

/// The block's rows, tiles of shared memory; and of gradients what each of the
/// lane's two rows has: vector<2xf32>.
struct BlockOperands {
  Value query, dout, lse, delta;
};

class Fragments {
public:
  /// By the shape's result and the tiling's product.
  static std::unique_ptr<Fragments> create(ImplicitLocOpBuilder &b,
                                           const AttentionShape &shape,
                                           const Tiling &tiling, Value lane,
                                           Value warp);
  virtual ~Fragments() = default;

  /// Reads the warp's rows of the block's.
  virtual void bind(const BlockOperands &rows) = 0;

  /// The state before the first key.
  virtual State empty();
  /// The state with a tile's scores, and with the values of one.
  virtual State turn(State state, const Turn &turn, Value keys,
                     Value values) = 0;
  /// The state with what the last turn left, of values from `row` on;
  /// `passTurn` is called once the products are started.
  virtual State finish(State state, Value values, Value row,
                       function_ref<void()> passTurn) {
    return state;
  }
  /// max or sum over the columns and the four lanes of each row.
  Value overRow(Value pairs, bool isMax);

protected:
  Fragments(ImplicitLocOpBuilder &b, const AttentionShape &shape,
            const Tiling &tiling, Value lane, Value warp);
  /// Takes scores into maxima and sums.
  Softmax softmax(State &state, ValueRange scores);
  void rescale(SmallVectorImpl<Value> &out, const Softmax &step);
  Value inWarp(Value ofRows);
  /// Each row's number for both of the lane's columns.
  Value spread(Value ofRows);
  Value splat(float value);

  ImplicitLocOpBuilder &b;
  Arith a;
  const AttentionShape &shape;
  const Tiling &tiling;
  Value lane, warp;
  VectorType tile, rows;
};

/// Attention by products whose results are there at once.
class SynchronousFragments : public Fragments {
public:
  SynchronousFragments(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                       const Tiling &tiling, Value lane, Value warp);
  void bind(const BlockOperands &rows) override;
  State turn(State state, const Turn &turn, Value keys, Value values) override;

private:
  std::unique_ptr<WarpProducts> products;
  WarpRows queries;
};

std::unique_ptr<Fragments> createWgmmaFragments(ImplicitLocOpBuilder &b,
                                                const AttentionShape &shape,
                                                const Tiling &tiling,
                                                Value lane, Value warp);
/// Of queries' gradients and, whose rows are queries as well, of biases'.
std::unique_ptr<Fragments>
createQueryGradientFragments(ImplicitLocOpBuilder &b,
                             const AttentionShape &shape, const Tiling &tiling,
                             Value lane, Value warp);

} // namespace mlir::megactx::nvgpu

#endif
