//===- Registration.cpp - every dialect and pass of ours ------------------===//

#include "megactx/Pipelines/Registration.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "megactx/Pipelines/Pipelines.h"
#include "megactx/Target/CPU/Passes.h"
#include "megactx/Target/NVGPU/Passes.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"

using namespace mlir;
using namespace mlir::megactx;

void mlir::megactx::registerAllDialects(DialectRegistry &registry) {
  registry.insert<func::FuncDialect, MegaCtxDialect, nvx::NVXDialect,
                  onnx::OnnxDialect>();
  registerBufferization(registry);
  // Kernels become PTX within the pipeline, and their launches calls after it.
  registerBuiltinDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
  gpu::registerOffloadingLLVMTranslationInterfaceExternalModels(registry);
}

static void registerPipelines() {
  PassPipelineRegistration<SparsifyOptions>(
      "megactx-sparsify-pipeline",
      "a graph of ONNX nodes to attentions with their patterns",
      buildSparsifyPipeline);
  PassPipelineRegistration<OnnxToLinalgOptions>(
      "megactx-onnx-to-linalg-pipeline",
      "ONNX's operators to linalg, attentions stay", buildOnnxToLinalgPipeline);
  PassPipelineRegistration<>("megactx-pieces-pipeline",
                             "attentions to links of one piece each",
                             buildPiecesPipeline);
  PassPipelineRegistration<AttentionOptions>(
      "megactx-attention-pipeline",
      "links of attention to fused attention, or all of them to linalg",
      buildAttentionPipeline);
  PassPipelineRegistration<BufferizeOptions>(
      "megactx-bufferize-pipeline", "tensors to memrefs, with deallocation",
      buildBufferizePipeline);
  PassPipelineRegistration<>(
      "megactx-cpu-loops-pipeline", "memrefs to loops, attention as kernels",
      [](OpPassManager &pm) { buildCPULoopsPipeline(pm); });
  PassPipelineRegistration<>("megactx-cpu-to-llvm-pipeline",
                             "loops to the LLVM dialect",
                             buildCPUToLLVMPipeline);
  PassPipelineRegistration<GPUOptions>(
      "megactx-attention-to-gpu-pipeline",
      "fused attention on memrefs to launches and gpu.binary",
      buildAttentionToGPUPipeline);
  PassPipelineRegistration<GPUOptions>(
      "megactx-gpu-launches-pipeline",
      "memrefs to launches on buffers of the device", buildGPULaunchesPipeline);
  PassPipelineRegistration<>("megactx-gpu-to-llvm-pipeline",
                             "launches to the LLVM dialect",
                             buildGPUToLLVMPipeline);
}

void mlir::megactx::registerAllPasses() {
  registerMegaCtxTransformsPasses();
  registerMegaCtxConversionPasses();
  registerMegaCtxCPUPasses();
  registerMegaCtxNVGPUPasses();
  registerPipelines();
}
