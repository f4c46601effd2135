//===- BiasSums.h - where the gradients of scores go ------------*- C++ -*-===//
//
// Owns what a warp adds to the gradient of a bias: of each pair the gradient of
// its score, atomically, for other blocks may add to the same element; of a
// bias per key, the sum of the warp's rows.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_BIASSUMS_H
#define MEGACTX_LIB_TARGET_NVGPU_BIASSUMS_H

#include "ScoreElements.h"

namespace mlir::megactx::nvgpu {

class BiasSums {
public:
  /// `rows`: the lane's two rows of queries; `exists`: whether there are such.
  BiasSums(ImplicitLocOpBuilder &b, const AttentionShape &shape,
           const KernelArguments &arguments, const ScoreElements &elements,
           Value lane, std::array<Row, 2> rows, std::array<Value, 2> exists);

  /// Gradients of the 16x8 scores n, vector<2x2xf32>, of a tile: 0 of what is
  /// no pair.
  void add(ValueRange slopes, const TilePlace &at);

private:
  void addPairs(Value slopes, std::array<Value, 2> keys);
  void addKeys(Value slopes, std::array<Value, 2> keys);
  void addTo(const Row &query, Value key, Value slope);
  Value element(Value slopes, int64_t i, int64_t j);

  ImplicitLocOpBuilder &b;
  Arith a;
  const AttentionShape &shape;
  const KernelArguments &arguments;
  const ScoreElements &elements;
  Value lane;
  std::array<Row, 2> rows;
  std::array<Value, 2> exists;
};

} // namespace mlir::megactx::nvgpu

#endif
