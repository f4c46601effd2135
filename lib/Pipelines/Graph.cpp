//===- Graph.cpp - pipelines from a graph to pieces, for every target -----===//

#include "megactx/Conversion/Passes.h"
#include "megactx/Pipelines/Pipelines.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void mlir::megactx::buildSparsifyPipeline(OpPassManager &pm,
                                          const SparsifyOptions &options) {
  pm.addPass(createNormalizeOnnxPass());
  if (options.floatScores)
    pm.addPass(createFloatScoresPass());
  RaiseOnnxAttentionPassOptions raise;
  raise.cachesInPlace = options.cachesInPlace;
  pm.addPass(createRaiseOnnxAttentionPass(raise));
  SparsifyPassOptions sparsify;
  sparsify.pattern = options.pattern;
  sparsify.policy = options.policy;
  sparsify.step = options.step;
  pm.addPass(createSparsifyPass(sparsify));
  if (options.cachesInPlace)
    pm.addPass(createCachesInPlacePass());
}

void mlir::megactx::buildOnnxToLinalgPipeline(
    OpPassManager &pm, const OnnxToLinalgOptions &options) {
  pm.addPass(createConvertOnnxToLinalgPass(
      {options.channelsLast, options.integerTerms, options.topKOps}));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void mlir::megactx::buildPiecesPipeline(OpPassManager &pm) {
  pm.addPass(createDecomposePatternsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createHoistWeightsPass());
}
