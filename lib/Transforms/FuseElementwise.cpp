//===- FuseElementwise.cpp - elementwise ops as one, products as they are -===//

#include "Products.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_FUSEELEMENTWISEPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// Whether fusion would update a destination once for each of the consumer's
/// loops that the producer lacks, or along what the consumer reduces: upstream
/// keeps a destination that is read.
bool updatesRepeatedly(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::LinalgOp>();
  auto consumer = dyn_cast<linalg::LinalgOp>(operand->getOwner());
  return producer && consumer &&
         (producer.getNumLoops() != consumer.getNumLoops() ||
          consumer.getNumReductionLoops()) &&
         llvm::any_of(producer.getDpsInitsMutable(), [&](OpOperand &init) {
           return producer.payloadUsesValueFromOperand(&init);
         });
}

/// Whether fusion would compute what the consumer sums up once for each of its
/// results that the element is a part of.
bool computesRepeatedly(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::GenericOp>();
  auto consumer = dyn_cast<linalg::LinalgOp>(operand->getOwner());
  if (!producer || !consumer || !consumer.getNumReductionLoops() ||
      llvm::hasSingleElement(*producer.getBody()))
    return false;
  AffineMap map = consumer.getMatchingIndexingMap(operand);
  for (auto [loop, kind] : llvm::enumerate(consumer.getIteratorTypesArray()))
    if (kind == utils::IteratorType::parallel && !map.isFunctionOfDim(loop))
      return true;
  return false;
}

/// Whether the sizes of an expansion are there where what is padded is:
/// upstream expands it right behind that.
bool hasSizesBeforePad(OpOperand *operand) {
  auto expand = dyn_cast<tensor::ExpandShapeOp>(operand->getOwner());
  auto pad = operand->get().getDefiningOp<tensor::PadOp>();
  if (!expand || !pad)
    return true;
  Operation *source = pad.getSource().getDefiningOp();
  return llvm::all_of(expand.getOutputShape(), [&](Value size) {
    Operation *op = size.getDefiningOp();
    return !op || (source && op->getBlock() == source->getBlock() &&
                   op->isBeforeInBlock(source));
  });
}

struct FuseElementwise : impl::FuseElementwisePassBase<FuseElementwise> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    auto hasOneUse = [](OpOperand *operand) {
      Operation *producer = operand->get().getDefiningOp();
      return producer && producer->hasOneUse();
    };
    auto keepsProducts = [&](OpOperand *operand) {
      return hasOneUse(operand) && !updatesRepeatedly(operand) &&
             !computesRepeatedly(operand) && hasSizesBeforePad(operand) &&
             !isProduct(operand->getOwner()) &&
             !isProduct(operand->get().getDefiningOp());
    };
    RewritePatternSet patterns(context);
    linalg::populateElementwiseOpsFusionPatterns(patterns, keepsProducts);
    linalg::populateFoldReshapeOpsByExpansionPatterns(patterns, keepsProducts);
    tensor::populateBubbleUpExpandShapePatterns(patterns);
    affine::AffineApplyOp::getCanonicalizationPatterns(patterns, context);
    linalg::GenericOp::getCanonicalizationPatterns(patterns, context);
    tensor::ExpandShapeOp::getCanonicalizationPatterns(patterns, context);
    tensor::CollapseShapeOp::getCanonicalizationPatterns(patterns, context);
    context->getLoadedDialect<linalg::LinalgDialect>()
        ->getCanonicalizationPatterns(patterns);
    linalg::populateConstantFoldLinalgOperations(patterns, hasOneUse);
    GreedyRewriteConfig config;
    config.setUseTopDownTraversal();
    if (failed(
            applyPatternsGreedily(getOperation(), std::move(patterns), config)))
      signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
