//===- Layers.h - which attention is which layer ----------------*- C++ -*-===//
//
// Owns the numbers that policies and reports give to layers: attentions in
// graph order, from 0. Of the branches of an If a run takes one, so each counts
// on from the same number, and what follows from the largest: a model has the
// layers of one with any of its branches alone.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_LAYERS_H
#define MEGACTX_TRANSFORMS_LAYERS_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

namespace mlir::megactx {

struct Layer {
  AttentionOp op;
  int64_t number;
};

/// The attentions in `root`, in graph order.
SmallVector<Layer> layersOf(Operation *root);

/// How many layers there are, which is not how many attentions.
int64_t numLayers(ArrayRef<Layer> layers);

/// The branches that an op is in, outermost first, like "then_branch of 'if'";
/// empty where it is in none.
std::string branchesOf(Operation *op);

} // namespace mlir::megactx

#endif
