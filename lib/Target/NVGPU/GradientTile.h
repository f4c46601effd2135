//===- GradientTile.h - gradients of one tile of pairs ----------*- C++ -*-===//
//
// Owns what kernels of gradients compute of a tile of pairs of query and key,
// whichever of the two are the warp's rows and whichever come tile by tile:
//
//   P  = exp2(S - lse)                    S, from A A't
//   dX = P (dP - delta)                   dP, from B B't
//
//               rows (A, B)      columns (A', B')     sums
//   queries'    query, dout      key, value           dq += dX A'
//   keys'       key, value       query, dout          dk += dX A', dv += P B'
//   biases'     query, dout      key, value           dbias += dX
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_GRADIENTTILE_H
#define MEGACTX_LIB_TARGET_NVGPU_GRADIENTTILE_H

#include "Kernel.h"
#include "WarpProducts.h"

namespace mlir::megactx::nvgpu {

/// What the queries of 16x8 elements have, vector<2x2xf32>.
struct QueryNumbers {
  Value lse, delta;
};

/// P and dX in 16x8 tiles.
struct GradientTile {
  SmallVector<Value> weights, slopes;
};

class GradientTiles {
public:
  GradientTiles(ImplicitLocOpBuilder &b, const AttentionShape &shape)
      : b(b), shape(shape) {}

  /// `products`: A A't; `scores`: what became of them, masked ones far below
  /// all others; `doutProducts`: B B't; `of`: of the elements n.
  GradientTile tile(ValueRange products, ValueRange scores,
                    ValueRange doutProducts,
                    function_ref<QueryNumbers(int64_t n)> of);

private:
  Value splat(float x);
  Value weight(Value score, Value lse);
  Value slope(Value weight, Value product, Value doutProduct, Value delta);

  ImplicitLocOpBuilder &b;
  const AttentionShape &shape;
};

/// One of a lane's two rows: where it is, and whether there is one.
struct SumRow {
  SmallVector<Value> at; ///< batch, head, row
  Value exists;
};
/// Adds `factor` times the 16x8 tiles of a warp's sums to rows of f32.
void addSums(ImplicitLocOpBuilder &b, Value lane, ValueRange sums, float factor,
             Value memory, const std::array<SumRow, 2> &rows);

} // namespace mlir::megactx::nvgpu

#endif
