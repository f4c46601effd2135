//===- QueryGradient.cpp - queries are a warp's rows, keys come by tiles --===//
//
// For the gradients of queries, which are sums of these rows, and those of
// biases, to which each tile's go.
//
//===----------------------------------------------------------------------===//

#include "Fragments.h"
#include "GradientTile.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

namespace {
/// The state is the gradient of the warp's queries; none of biases' gradients.
class QueryGradientFragments : public Fragments {
public:
  QueryGradientFragments(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                         const Tiling &tiling, Value lane, Value warp)
      : Fragments(b, shape, tiling, lane, warp),
        products(
            WarpProducts::create(b, shape.element, tiling.product, lane, warp)),
        tiles(b, shape) {}
  void bind(const BlockOperands &rows) override;
  State empty() override;
  State turn(State state, const Turn &turn, Value keys, Value values) override;

private:
  std::unique_ptr<WarpProducts> products;
  GradientTiles tiles;
  WarpRows query, dout;
  QueryNumbers numbers;
};
} // namespace

void QueryGradientFragments::bind(const BlockOperands &rows) {
  query = products->bind(rows.query, tiling.queryTile, /*held=*/false);
  dout = products->bind(rows.dout, tiling.otherTile, /*held=*/false);
  numbers = {spread(rows.lse), spread(rows.delta)};
}

State QueryGradientFragments::empty() {
  State state;
  if (shape.result == KernelResult::QueryGradient)
    state.out.assign(tiling.paddedHead / 8, splat(0.0f));
  return state;
}

State QueryGradientFragments::turn(State state, const Turn &turn, Value keys,
                                   Value values) {
  turn.copyNext();
  SmallVector<Value> ofKeys =
      products->multiply(query, keys, tiling.keyTile, turn.keyRow, tiling.keys);
  SmallVector<Value> scores = turn.scores(ofKeys);
  SmallVector<Value> ofValues = products->multiply(
      dout, values, tiling.valueTile, turn.valueRow, tiling.keys);
  GradientTile tile =
      tiles.tile(ofKeys, scores, ofValues, [&](int64_t) { return numbers; });
  if (shape.result == KernelResult::BiasGradient)
    turn.takeSlopes(tile.slopes);
  else
    products->accumulate(state.out, tile.slopes, keys, tiling.keyTile,
                         turn.keyRow);
  turn.release();
  return state;
}

std::unique_ptr<Fragments> mlir::megactx::nvgpu::createQueryGradientFragments(
    ImplicitLocOpBuilder &b, const AttentionShape &shape, const Tiling &tiling,
    Value lane, Value warp) {
  return std::make_unique<QueryGradientFragments>(b, shape, tiling, lane, warp);
}
