//===- Layers.cpp - which attention is which layer ------------------------===//

#include "megactx/Transforms/Layers.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

/// Whether a run takes one of the op's regions alone.
static bool isChoice(Operation *op) { return isa<onnx::IfOp, scf::IfOp>(op); }

/// Numbers the attentions of a region from `number` on, and returns the next.
static int64_t count(Region &region, int64_t number,
                     SmallVector<Layer> &layers) {
  for (Block &block : region)
    for (Operation &op : block) {
      if (auto attention = dyn_cast<AttentionOp>(op))
        layers.push_back({attention, number++});
      int64_t next = number;
      for (Region &inner : op.getRegions()) {
        int64_t after = count(inner, isChoice(&op) ? number : next, layers);
        next = std::max(next, after);
      }
      number = next;
    }
  return number;
}

SmallVector<Layer> mlir::megactx::layersOf(Operation *root) {
  SmallVector<Layer> layers;
  int64_t next = 0;
  for (Region &region : root->getRegions())
    next = count(region, next, layers);
  return layers;
}

int64_t mlir::megactx::numLayers(ArrayRef<Layer> layers) {
  int64_t count = 0;
  for (const Layer &layer : layers)
    count = std::max(count, layer.number + 1);
  return count;
}

std::string mlir::megactx::branchesOf(Operation *op) {
  std::string text;
  for (; Operation *parent = op->getParentOp(); op = parent) {
    if (!isChoice(parent))
      continue;
    // The graph's branches are in the order of the file.
    auto names =
        parent->getAttrOfType<ArrayAttr>(onnx::OnnxDialect::kRegionsAttr);
    unsigned number = op->getParentRegion()->getRegionNumber();
    bool isThen = names ? names[number] ==
                              StringAttr::get(op->getContext(), "then_branch")
                        : number == 0;
    auto name = parent->getLoc()->findInstanceOf<NameLoc>();
    std::string own = isThen ? "then_branch" : "else_branch";
    if (name)
      own += " of '" + name.getName().str() + "'";
    text = text.empty() ? own : own + ", " + text;
  }
  return text;
}
