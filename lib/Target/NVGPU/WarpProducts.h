//===- WarpProducts.h - products that a warp has at once --------*- C++ -*-===//
//
// Owns the interface to instructions that multiply a warp's 16 rows with tiles
// of shared memory, and whose results are there at once: in 16x8 tiles, of
// which lane l holds the rows l / 4 and l / 4 + 8 and, of each 8 columns,
// 2 (l mod 4) and the next, as vector<2x2xf32> [row half][column].
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_WARPPRODUCTS_H
#define MEGACTX_LIB_TARGET_NVGPU_WARPPRODUCTS_H

#include "Tiling.h"

namespace mlir::megactx::nvgpu {

/// Of the rows of a block's warps, that of a lane in one of its two halves.
Value rowOfLane(const Arith &a, Value warp, Value lane, int64_t half);

/// What a warp reads of shared memory for products, and makes of its registers.
class WarpOperands {
public:
  WarpOperands(ImplicitLocOpBuilder &b, Type element, Value lane, Value warp);

  /// By ldmatrix, the 16x16 elements whose place the lanes name by row and
  /// column: lane 8 i + j that of row j of the i-th 8x8 matrix.
  Value loadMatrices(Value shared, const TileLayout &layout, Value row,
                     Value column, bool transpose);
  /// The warp's 16 rows of a tile, 16 columns from `column` on, as A of a
  /// product.
  Value loadRows(Value shared, const TileLayout &layout, int64_t column);
  /// Weights, narrowed to the element type, as A of products over 16 columns
  /// each.
  SmallVector<Value> narrow(ValueRange weights);

protected:
  ImplicitLocOpBuilder &b;
  Arith a;
  Type element;
  Value lane, warp;
  VectorType tile, aType;
};

/// A tile of which each warp multiplies its 16 rows.
struct WarpRows {
  Value shared;
  TileLayout layout;
  SmallVector<Value> held; ///< in registers; empty: read for each product
};

class WarpProducts : protected WarpOperands {
public:
  /// By mma.sync or, of f32, by scalar products.
  static std::unique_ptr<WarpProducts> create(ImplicitLocOpBuilder &b,
                                              Type element,
                                              nvx::Product product, Value lane,
                                              Value warp);
  virtual ~WarpProducts() = default;

  /// `held`: reads them now, and never again, if that is of use.
  virtual WarpRows bind(Value shared, const TileLayout &layout, bool held) {
    return {shared, layout, {}};
  }
  /// R Tt: of the warp's rows with `count` rows of a tile, from `row` on.
  virtual SmallVector<Value> multiply(const WarpRows &rows, Value shared,
                                      const TileLayout &layout, Value row,
                                      int64_t count) = 0;
  /// sums += W T: of weights with the rows of a tile from `row` on.
  virtual void accumulate(SmallVectorImpl<Value> &sums, ValueRange weights,
                          Value shared, const TileLayout &layout,
                          Value row) = 0;

protected:
  using WarpOperands::WarpOperands;
};

std::unique_ptr<WarpProducts> createMmaProducts(ImplicitLocOpBuilder &b,
                                                Type element, Value lane,
                                                Value warp);
std::unique_ptr<WarpProducts> createFmaProducts(ImplicitLocOpBuilder &b,
                                                Type element, Value lane,
                                                Value warp);

} // namespace mlir::megactx::nvgpu

#endif
