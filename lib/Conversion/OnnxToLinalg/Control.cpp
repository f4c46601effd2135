//===- Control.cpp - branches ---------------------------------------------===//
//
// The branch that a known condition takes becomes part of the function: its
// nodes are the next that the walk finds.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"

using namespace mlir;
using namespace mlir::megactx;

static Region *branchOf(Node &node, StringRef name) {
  auto names =
      node.op->getAttrOfType<ArrayAttr>(onnx::OnnxDialect::kRegionsAttr);
  for (unsigned i = 0; names && i < node.op->getNumRegions(); ++i)
    if (i < names.size() &&
        names[i] == StringAttr::get(names.getContext(), name))
      return &node.op->getRegion(i);
  return nullptr;
}

static LogicalResult lowerIf(Node &node) {
  auto list = node.graph.elementsOf(node.loc(), node.in(0));
  auto condition =
      list && list->size() == 1 ? list->front().constant() : std::nullopt;
  if (!condition)
    return node.error() << "a condition that only a run knows has no lowering";
  Region *branch = branchOf(node, *condition ? "then_branch" : "else_branch");
  if (!branch || !llvm::hasSingleElement(*branch) ||
      branch->front().getTerminator()->getNumOperands() !=
          node.op->getNumResults())
    return node.error() << "expected a branch with the node's outputs";
  node.graph.enter(branch->front(), node.op);
  return success();
}

/// The end of a branch that was entered.
static LogicalResult lowerYield(Node &node) {
  Operation *owner = node.graph.leave(node.op);
  for (unsigned i = 0; i < node.numInputs(); ++i)
    if (node.has(i))
      node.graph.bind(owner->getResult(i), node.in(i));
  return success();
}

void mlir::megactx::registerControl(Registry &registry) {
  registry["If"] = lowerIf;
  registry["yield"] = lowerYield;
}
