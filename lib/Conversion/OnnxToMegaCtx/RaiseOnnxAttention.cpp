//===- RaiseOnnxAttention.cpp - attention out of ONNX graphs --------------===//
//
// Owns the pass --megactx-raise-onnx-attention: which nodes are tried how. What
// is like attention and stays gets a remark.
//
//===----------------------------------------------------------------------===//

#include "Nodes.h"
#include "RaiseAttention.h"
#include "Remarks.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Iterators.h"

namespace mlir::megactx {
using namespace raise;

#define GEN_PASS_DEF_RAISEONNXATTENTIONPASS
#include "megactx/Conversion/Passes.h.inc"

/// A Softmax written as its parts: Div(Exp(x), ReduceSum(Exp(x))).
static bool isSpelledOut(Operation *op) {
  if (typeOf(op) != "Div" || typeOf(op->getOperand(0)) != "Exp")
    return false;
  Value sum = op->getOperand(1);
  return typeOf(sum) == "ReduceSum" &&
         sum.getDefiningOp()->getOperand(0) == op->getOperand(0);
}

/// Empty where the op, which is like attention, was raised, else why not;
/// nothing for all other ops.
static std::optional<std::string> tryRaise(Operation *op, MaskCounts &counts,
                                           bool cachesInPlace) {
  StringRef type = typeOf(op);
  if (type == "Softmax") {
    std::string reason = raiseSoftmaxAttention(op, counts);
    return reason.empty() || reason == kOfChannels
               ? reason
               : raiseChunkedAttention(op, counts).value_or(reason);
  }
  if (type == "Attention")
    return raiseAttentionOp(op, counts);
  if (type == "ai.megactx.CachedAttention")
    return raiseCachedAttention(op, counts, cachesInPlace);
  if (type.contains("Attention"))
    return "an operator, or a form of it, that is not known in ONNX's terms";
  if (isSpelledOut(op))
    return "it is a softmax in parts, from Exp to Div, not a Softmax";
  return std::nullopt;
}

namespace {
struct RaiseOnnxAttention
    : impl::RaiseOnnxAttentionPassBase<RaiseOnnxAttention> {
  using RaiseOnnxAttentionPassBase::RaiseOnnxAttentionPassBase;

  SmallVector<Operation *> nodesOf(StringRef type) {
    SmallVector<Operation *> nodes;
    getOperation().walk([&](Operation *op) {
      if (typeOf(op) == type)
        nodes.push_back(op);
    });
    return nodes;
  }

  void runOnOperation() override {
    for (Operation *quotient : nodesOf("Div"))
      joinSoftmax(quotient);
    for (StringRef type : {"Add", "Sub"})
      for (Operation *sum : nodesOf(type))
        chooseByMask(sum);
    for (Operation *softmax : nodesOf("Softmax"))
      turnScores(softmax);
    for (Operation *product : nodesOf("MatMul"))
      turnProbabilities(product);
    for (Operation *product : nodesOf("MatMul"))
      distributeProduct(product);
    // In the order of the graph; what is raised is not erased before the end.
    SmallVector<Operation *> nodes;
    getOperation().walk([&](Operation *op) { nodes.push_back(op); });
    MaskCounts counts;
    for (Operation *node : nodes) {
      std::optional<std::string> reason = tryRaise(node, counts, cachesInPlace);
      if (!reason || reason->empty())
        continue;
      missed(node, kAttentionNotRaised) << remark::reason("{0}", *reason);
      // A softmax has a lowering of its own.
      if (typeOf(node).contains("Attention"))
        node->setAttr(kReasonAttr, StringAttr::get(&getContext(), *reason));
    }
    getOperation().walk([&](AttentionOp) { ++numRaised; });
    numPatterns += counts.patterns;
    numBiases += counts.biases;
    numTables += counts.tables;
    // What only the raised products read is dead now.
    for (auto function : getOperation().getOps<func::FuncOp>())
      function->walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
        if (isOpTriviallyDead(op))
          op->erase();
      });
  }
};
} // namespace
} // namespace mlir::megactx
