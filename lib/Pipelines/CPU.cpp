//===- CPU.cpp - the CPU's pipelines --------------------------------------===//

#include "megactx/Conversion/Passes.h"
#include "megactx/Pipelines/Pipelines.h"
#include "megactx/Target/CPU/Passes.h"
#include "megactx/Target/NVGPU/Architecture.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void mlir::megactx::buildAttentionPipeline(OpPassManager &pm,
                                           const AttentionOptions &options) {
  if (!options.generic) {
    FuseAttentionPiecesPassOptions fuse;
    fuse.maxHeadDim = options.gpu ? nvgpu::kMaxHeadDim : 512;
    fuse.headDimMultiple = options.gpu ? nvgpu::kHeadDimMultiple : 1;
    fuse.maxGradientDim =
        options.gpu ? nvgpu::kMaxGradientDim : fuse.maxHeadDim;
    if (options.gpu)
      fuse.biasParts = 1;
    pm.addPass(createFuseAttentionPiecesPass(fuse));
    FuseLodPassOptions lod;
    // Tasks for every core, or multiprocessor, of rows that caches hold.
    lod.rows = options.gpu ? 131072 : 32768;
    if (options.fuseLod)
      pm.addPass(createFuseLodPass(lod));
    AttentionLayoutPassOptions layout;
    layout.rowBytes = options.gpu ? nvgpu::kRowBytes : 1;
    pm.addNestedPass<func::FuncOp>(createAttentionLayoutPass(layout));
  }
  pm.addPass(createConvertAttentionToLinalgPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

/// MLIR's buffer-deallocation-pipeline, with a pass of ours in it.
static void buildDeallocation(OpPassManager &pm) {
  pm.addPass(memref::createExpandReallocPass({/*emitDeallocs=*/false}));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(bufferization::createOwnershipBasedBufferDeallocationPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(bufferization::createBufferDeallocationSimplificationPass());
  pm.addPass(createCanonicalizerPass()); // by which owners are known
  pm.addPass(megactx::createSimplifyDeallocsPass());
  pm.addPass(bufferization::createLowerDeallocationsPass());
  pm.addPass(createCSEPass());
  pm.addPass(createCanonicalizerPass());
}

void mlir::megactx::buildBufferizePipeline(OpPassManager &pm,
                                           const BufferizeOptions &options) {
  pm.addPass(createConvertElementwiseToLinalgPass());
  if (options.widenIntegerProducts)
    pm.addNestedPass<func::FuncOp>(createWidenIntegerProductsPass());
  if (options.productEpilogues)
    pm.addNestedPass<func::FuncOp>(createFuseProductEpiloguesPass());
  pm.addNestedPass<func::FuncOp>(createFuseElementwisePass());
  if (options.productEpilogues)
    pm.addNestedPass<func::FuncOp>(createFuseProductEpiloguesPass());
  if (options.recomputeMaps) {
    pm.addPass(createCanonicalizerPass());
    pm.addPass(createCSEPass());
    RecomputeMapsPassOptions recompute;
    recompute.mostOps = options.recomputeMaps;
    pm.addNestedPass<func::FuncOp>(createRecomputeMapsPass(recompute));
    pm.addNestedPass<func::FuncOp>(createFuseElementwisePass());
  }
  // Sizes of results as those of operands: known early, and results dead that
  // were asked for their sizes alone.
  pm.addPass(memref::createResolveRankedShapeTypeResultDimsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  if (options.splitSteps) {
    pm.addNestedPass<func::FuncOp>(createSplitStepsPass());
    pm.addPass(createCanonicalizerPass());
    pm.addPass(createCSEPass());
  }
  if (options.updateInPlace)
    pm.addNestedPass<func::FuncOp>(createUpdateInPlacePass());
  pm.addPass(createSeparateInitsPass());
  pm.addNestedPass<func::FuncOp>(
      bufferization::createEmptyTensorEliminationPass());
  // Of these it is known before they are buffers that they are contiguous, by
  // which branches and loops give what need not be copied.
  pm.addPass(bufferization::createEmptyTensorToAllocTensorPass());
  pm.addPass(createProtectArgumentsPass());
  pm.addPass(createBufferizePass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createCopyStridedCastsPass());
  pm.addPass(createDropUpdatedResultsPass());
  // Sizes that bufferization asks for again, of views.
  pm.addPass(memref::createResolveRankedShapeTypeResultDimsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addNestedPass<func::FuncOp>(createAlternateBuffersPass());
  buildDeallocation(pm);
  pm.addPass(createConvertBufferizationToMemRefPass());
  // Before buffers share memory, which keeps apart what ops in turn use.
  if (options.fuseRows) {
    FuseRowsPassOptions rows;
    if (options.longRows)
      rows.longExtent = options.longRows;
    pm.addNestedPass<func::FuncOp>(createFuseRowsPass(rows));
  }
  pm.addNestedPass<func::FuncOp>(createPlanArenaPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void mlir::megactx::buildCPULoopsPipeline(OpPassManager &pm,
                                          const CPULoopsOptions &options) {
  pm.addPass(createForallToParallelLoopPass());
  pm.addPass(createCopiesToLinalgPass());
  pm.addPass(createConvertMatmulToRuntimePass());
  pm.addPass(createConvertConvolutionToRuntimePass());
  pm.addPass(createConvertTopKToRuntimePass());
  pm.addPass(createConvertAssertToRuntimePass());
  ConvertLinalgToTasksPassOptions tasks;
  tasks.vectorBits = options.vectorBits;
  pm.addNestedPass<func::FuncOp>(createConvertLinalgToTasksPass(tasks));
  pm.addPass(createCanonicalizerPass());
  ConvertAttentionToCPUKernelsPassOptions kernels;
  kernels.vectorBits = options.vectorBits;
  kernels.vectorRegisters = options.vectorRegisters;
  kernels.amx = options.amx;
  pm.addPass(createConvertAttentionToCPUKernelsPass(kernels));
  pm.addPass(createExpandDotPairsPass());
  pm.addPass(createApproximateMathPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void mlir::megactx::buildCPUToLLVMPipeline(OpPassManager &pm) {
  pm.addPass(createOutlineParallelPass());
  pm.addPass(createExpandDynamicShapesPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createConvertSCFToControlFlowPass());
  // Not every CPU has conversions to bf16, and libgcc 12 has none.
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  pm.addNestedPass<func::FuncOp>(arith::createArithExpandOpsPass(expand));
  ConvertVectorToLLVMPassOptions vectors;
  vectors.amx = vectors.x86Vector = true;
  pm.addPass(createConvertVectorToLLVMPass(vectors));
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass());
  FinalizeMemRefToLLVMConversionPassOptions memory;
  memory.useGenericFunctions = true;
  pm.addPass(createFinalizeMemRefToLLVMConversionPass(memory));
  // In one walk; LLVM simplifies what is left.
  ConvertToLLVMPassOptions others;
  others.filterDialects = {"func", "arith", "cf", "index", "ub"};
  pm.addPass(createConvertToLLVMPass(others));
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createDefineLaunchesPass());
}
