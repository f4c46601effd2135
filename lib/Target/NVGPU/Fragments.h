//===- Fragments.h - what a warp computes with a tile -----------*- C++ -*-===//
//
// Owns the interface between the skeleton of a kernel and the instructions that
// multiply: a warp's 16 rows in fragments, of which lane l holds the rows l / 4
// and l / 4 + 8 and, of each 8 columns, 2 (l mod 4) and the next. The softmax
// step is the same for all.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_FRAGMENTS_H
#define MEGACTX_LIB_TARGET_NVGPU_FRAGMENTS_H

#include "../Common/Emit.h"
#include "Kernel.h"

namespace mlir::megactx::nvgpu {

/// What lanes hold: maxima and sums (over the lane's own columns) of its two
/// rows, then the 16x8 tiles of the output.
struct State {
  Value max, sum;
  SmallVector<Value> out;
  SmallVector<Value> pack() const;
  static State unpack(ValueRange values);
};

class Fragments {
public:
  /// By mma.sync for f16 and bf16, by scalar products in f32 for f32.
  static std::unique_ptr<Fragments> create(ImplicitLocOpBuilder &b,
                                           const AttentionShape &shape,
                                           const Tiling &tiling, Value lane,
                                           Value warp);
  virtual ~Fragments() = default;

  /// Reads the warp's rows of the block's queries.
  virtual void bindQueries(Value shared) = 0;
  /// S = Q Kt for the tile whose rows start at `row` of `shared`.
  virtual SmallVector<Value> scores(Value shared, Value row) = 0;

  /// The state before the first key.
  State empty();
  /// The state with a tile's scores and values.
  State update(State state, ValueRange scores, Value shared, Value row);
  /// max or sum over the four lanes of a row.
  Value overRow(Value pairs, bool isMax);

protected:
  Fragments(ImplicitLocOpBuilder &b, const AttentionShape &shape,
            const Tiling &tiling, Value lane, Value warp);
  /// out += weights V for the tile whose rows start at `row` of `shared`.
  virtual void accumulate(SmallVectorImpl<Value> &out, ValueRange weights,
                          Value shared, Value row) = 0;
  Value splat(float value);

  ImplicitLocOpBuilder &b;
  Arith a;
  const AttentionShape &shape;
  const Tiling &tiling;
  Value lane, warp;
  VectorType tile;
};

std::unique_ptr<Fragments> createMmaFragments(ImplicitLocOpBuilder &b,
                                              const AttentionShape &shape,
                                              const Tiling &tiling, Value lane,
                                              Value warp);
std::unique_ptr<Fragments> createFmaFragments(ImplicitLocOpBuilder &b,
                                              const AttentionShape &shape,
                                              const Tiling &tiling, Value lane,
                                              Value warp);

} // namespace mlir::megactx::nvgpu

#endif
