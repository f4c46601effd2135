//===- SplitSteps.cpp - all steps of a loop for each slice, in parallel ---===//
//
// Owns the pass --megactx-split-steps: which dims are cut. LoopSlices.h says
// what can be, LoopSplitter.h how a loop is done then.
//
//===----------------------------------------------------------------------===//

#include "LoopSplitter.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_SPLITSTEPSPASS
#include "megactx/Transforms/Passes.h.inc"

/// The number of the tensor that steps compute with, of those that are carried
/// the one of most dims.
static std::optional<unsigned> stateOf(scf::ForOp loop) {
  std::optional<unsigned> found;
  int64_t most = 1;
  for (auto [i, init] : llvm::enumerate(loop.getInitArgs())) {
    auto type = dyn_cast<RankedTensorType>(init.getType());
    if (type && type.getRank() > most && !isStacked(loop, i)) {
      found = i;
      most = type.getRank();
    }
  }
  return found;
}

/// The product of the sizes that are known.
static int64_t staticElements(ArrayRef<int64_t> shape) {
  int64_t product = 1;
  for (int64_t size : shape)
    if (ShapedType::isStatic(size) && llvm::MulOverflow(product, size, product))
      return INT64_MAX;
  return product;
}

namespace {
struct SplitSteps : impl::SplitStepsPassBase<SplitSteps> {
  using SplitStepsPassBase::SplitStepsPassBase;

  void runOnOperation() override {
    SmallVector<scf::ForOp> loops;
    getOperation()->walk([&](scf::ForOp loop) { loops.push_back(loop); });
    for (scf::ForOp loop : loops) {
      SmallVector<Cut> cuts = cutsOf(loop);
      if (cuts.empty())
        continue;
      splitLoop(loop, std::move(cuts));
      ++numSplit;
    }
  }

  SmallVector<Cut> cutsOf(scf::ForOp loop);
};
} // namespace

/// Leading dims, as many as leave slices large enough for loops over them, and
/// columns; none where slices are larger than a cache.
SmallVector<Cut> SplitSteps::cutsOf(scf::ForOp loop) {
  std::optional<unsigned> state = stateOf(loop);
  if (!state || loop->getParentOfType<scf::ForallOp>())
    return {};
  auto type = cast<RankedTensorType>(loop.getInitArgs()[*state].getType());
  SmallVector<Cut> cuts;
  ArrayRef<int64_t> shape = type.getShape();
  int64_t elements = staticElements(shape);
  for (auto [dim, size] : llvm::enumerate(shape.drop_back())) {
    if (size == 1)
      continue;
    int64_t left = ShapedType::isDynamic(size)
                       ? elements
                       : elements / std::max<int64_t>(size, 1);
    if (left < leastElements &&
        !ShapedType::isDynamicShape(shape.drop_front(dim + 1)))
      break;
    std::optional<LoopSlices> slices = LoopSlices::along(loop, *state, dim);
    if (!slices)
      continue;
    cuts.push_back({std::move(*slices), 1});
    elements = left;
  }
  int64_t row = shape.back();
  bool hasColumns = !cuts.empty() && columns > 0 && row != columns &&
                    row % columns == 0 &&
                    elements / row * columns >= leastElements;
  if (hasColumns)
    if (auto parts = LoopSlices::along(loop, *state, type.getRank() - 1,
                                       /*readsAgain=*/true)) {
      cuts.push_back({std::move(*parts), columns});
      elements = elements / row * columns;
    }
  if (elements > mostElements)
    cuts.clear();
  return cuts;
}
} // namespace mlir::megactx
