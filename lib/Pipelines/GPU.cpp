//===- GPU.cpp - the NVIDIA target's pipeline -----------------------------===//

#include "megactx/Conversion/Passes.h"
#include "megactx/Pipelines/Pipelines.h"
#include "megactx/Target/NVGPU/Architecture.h"
#include "megactx/Target/NVGPU/Passes.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"

using namespace mlir;
using namespace mlir::megactx;

void mlir::megactx::buildAttentionToGPUPipeline(OpPassManager &pm,
                                                const GPUOptions &options) {
  ConvertAttentionToNVGPUKernelsPassOptions attention;
  attention.arch = options.arch;
  attention.schedule = options.schedule;
  attention.schedules = options.schedules;
  pm.addPass(createConvertAttentionToNVGPUKernelsPass(attention));
  pm.addPass(createShareKernelsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  OpPassManager &kernels = pm.nest<gpu::GPUModuleOp>();
  kernels.addPass(math::createMathExtendToSupportedTypes());
  kernels.addPass(createConvertMathToNVVMPass());
  kernels.addPass(createLoopInvariantCodeMotionPass());
  kernels.addPass(createConvertNVXToNVVMPass());
  kernels.addPass(createConvertNVGPUToNVVMPass());
  kernels.addPass(createConvertSCFToControlFlowPass());
  kernels.addPass(memref::createExpandStridedMetadataPass());
  kernels.addPass(createLowerAffinePass());
  kernels.addPass(arith::createArithExpandOpsPass());
  kernels.addPass(createConvertVectorToLLVMPass());
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
  ConvertGpuOpsToNVVMOpsOptions toNVVM;
  // convert-nvgpu-to-nvvm knows only 64-bit indices.
  toNVVM.indexBitwidth = 64;
  kernels.addPass(createConvertGpuOpsToNVVMOps(toNVVM));
  kernels.addPass(createPassTensorMapsByValuePass());
  kernels.addPass(createConvertNVVMToLLVMPass());
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
  kernels.addPass(createReconcileUnrealizedCastsPass());
  kernels.addPass(createCheckKernelsPass());
  GpuNVVMAttachTargetOptions target;
  target.chip = options.arch;
  // Of an architecture that is none, the first pass says so.
  if (auto machine = nvgpu::machineOf(options.arch))
    target.features = machine->ptx.str();
  target.optLevel = 3;
  pm.addPass(createGpuNVVMAttachTarget(target));
  AssembleKernelsPassOptions assembly;
  assembly.arch = options.arch;
  assembly.format = options.format;
  assembly.toolkit = options.toolkit.empty() ? findCudaToolkit()
                                             : std::string(options.toolkit);
  pm.addPass(createAssembleKernelsPass(assembly));
}

/// All but attention as kernels and as calls of the runtime.
static void addModelKernels(OpPassManager &pm) {
  pm.addPass(createCopiesToLinalgPass());
  ConvertMatmulToRuntimePassOptions products;
  products.onDevice = true;
  pm.addPass(createConvertMatmulToRuntimePass(products));
  OpPassManager &functions = pm.nest<func::FuncOp>();
  functions.addPass(createConvertLinalgToGPUPass());
  functions.addPass(createConvertHostLoopsToGPUPass());
  functions.addPass(createConvertHostAccessToGPUPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createGpuLaunchSinkIndexComputationsPass());
  pm.addPass(createGpuKernelOutliningPass());
}

void mlir::megactx::buildGPULaunchesPipeline(OpPassManager &pm,
                                             const GPUOptions &options) {
  addModelKernels(pm);
  pm.addPass(createConvertAssertToRuntimePass());
  pm.addPass(createCheckGPUHostPass());
  buildAttentionToGPUPipeline(pm, options);
  pm.addPass(createConvertMemRefToGPUPass());
}

void mlir::megactx::buildGPUToLLVMPipeline(OpPassManager &pm) {
  pm.addPass(createConvertNVXToRuntimePass());
  // Tokens order what goes to the stream; the runtime has one for all.
  pm.addNestedPass<func::FuncOp>(createGpuAsyncRegionPass());
  pm.addPass(createExpandDynamicShapesPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createConvertSCFToControlFlowPass());
  pm.addNestedPass<func::FuncOp>(arith::createArithExpandOpsPass());
  pm.addPass(createConvertMathToLLVMPass());
  // Before gpu-to-llvm, which would take the C library's functions for what is
  // left in the host's memory.
  FinalizeMemRefToLLVMConversionPassOptions memory;
  memory.useGenericFunctions = true;
  pm.addPass(createFinalizeMemRefToLLVMConversionPass(memory));
  pm.addPass(createGpuToLLVMConversionPass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

std::string mlir::megactx::findCudaToolkit() {
  SmallVector<std::string> folders;
  if (auto ptxas = llvm::sys::findProgramByName("ptxas"))
    folders.push_back(
        llvm::sys::path::parent_path(llvm::sys::path::parent_path(*ptxas))
            .str());
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"})
    if (auto folder = llvm::sys::Process::GetEnv(variable))
      folders.push_back(*folder);
  folders.push_back("/usr/local/cuda");
  for (const std::string &folder : folders)
    if (llvm::all_of(ArrayRef{"/bin/ptxas", "/bin/fatbinary"},
                     [&](const char *program) {
                       return llvm::sys::fs::can_execute(folder + program);
                     }))
      return folder;
  return "";
}
