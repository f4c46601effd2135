//===- Kernel.h - one attention kernel, sm_80 schedule ----------*- C++ -*-===//
//
// Owns the form of the kernels: a block of 4 warps holds 64 query rows, 16 a
// warp. Tiles of keys and values go through two stages of shared memory, rows
// padded by 16 bytes so that ldmatrix meets no bank twice. Scores and sums stay
// in registers, a vector<2x2xf32> per 16x8 tile: [row half][column].
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_KERNEL_H
#define MEGACTX_LIB_TARGET_NVGPU_KERNEL_H

#include "../Common/KeyViews.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace mlir::megactx::nvgpu {

constexpr int64_t kThreads = 128, kRows = 64;
/// The score of a masked key: finite, so that no difference of two is NaN.
constexpr float kMasked = -1.0e30f;

/// Tile sizes and places in shared memory, in elements and bytes.
struct Tiling {
  explicit Tiling(const AttentionShape &shape)
      : paddedHead(llvm::alignTo(shape.headDim, 16)),
        paddedValue(llvm::alignTo(shape.valueDim, 16)),
        keys(std::max(paddedHead, paddedValue) <= 128 ? 64 : 32) {}
  int64_t paddedHead, paddedValue, keys;
  int64_t keyPitch() const { return paddedHead + 8; }
  int64_t valuePitch() const { return paddedValue + 8; }
  int64_t queryBytes() const { return kRows * keyPitch() * 2; }
  int64_t keyBytes() const { return 2 * keys * keyPitch() * 2; }
  int64_t bytes() const {
    return queryBytes() + keyBytes() + 2 * keys * valuePitch() * 2;
  }
  /// Above this, query fragments are read again for every tile.
  bool queriesInRegisters() const { return paddedHead <= 128; }
};

/// What lanes hold: maxima and sums (over the lane's own columns) of its two
/// rows, then the 16x8 tiles of the output.
struct State {
  Value max, sum;
  SmallVector<Value> out;
  SmallVector<Value> pack() const;
  static State unpack(ValueRange values);
};

/// Emits what one warp does with tiles in shared memory.
class TileEmitter {
public:
  TileEmitter(ImplicitLocOpBuilder &b, const AttentionShape &shape, Value lane,
              Value warp);
  void bindQueries(Value shared);
  /// S = Q Kt for the tile whose rows start at `row` of `shared`.
  SmallVector<Value> scores(Value shared, Value row);
  /// Scores of keys outside of [low, high) (vector<2x2xi32>) are masked.
  SmallVector<Value> mask(ValueRange scores, Value from, Value low, Value high);
  /// The state with a tile's scores and values.
  State update(State state, ValueRange scores, Value shared, Value row);
  /// max or sum over the four lanes of a row.
  Value overRow(Value pairs, bool isMax);
  Value splat(float value);

private:
  Value fragment(Value shared, Value row, Value column, bool transpose);
  Value half(Value fragment, int64_t which);

  ImplicitLocOpBuilder &b;
  Arith a;
  const AttentionShape &shape;
  Tiling tiling;
  Value lane, warp, inEight, eighth, sixteenth, pair, queries;
  SmallVector<Value> queryFragments;
  VectorType tile, aType, bType;
};

/// Adds the kernel to the module; arguments as kernelArguments.
gpu::GPUFuncOp emitKernel(gpu::GPUModuleOp module, StringRef name,
                          const AttentionShape &shape);

} // namespace mlir::megactx::nvgpu

#endif
