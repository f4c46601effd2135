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

void mlir::megactx::registerAllDialects(DialectRegistry &registry) {
  registry.insert<func::FuncDialect, MegaCtxDialect, nvx::NVXDialect,
                  onnx::OnnxDialect>();
  registerBufferization(registry);
  // Kernels become PTX within the pipeline.
  registerBuiltinDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
}

void mlir::megactx::registerAllPasses() {
  registerMegaCtxTransformsPasses();
  registerMegaCtxConversionPasses();
  registerMegaCtxCPUPasses();
  registerMegaCtxNVGPUPasses();
  registerPipelines();
}
