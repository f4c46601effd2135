//===- Pipelines.h - named pipelines, one per phase -------------*- C++ -*-===//
//
// Owns the order of passes. Tools only call these.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PIPELINES_PIPELINES_H
#define MEGACTX_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace mlir::megactx {

/// Which patterns a model's attentions get: one pattern for all of
/// self-attention, or a policy file; with neither they stay as they are.
struct PatternChoice {
  std::string pattern, policy;
  int64_t step = 0;         ///< training step, for policies with schedules
  bool floatScores = false; ///< leave scores of quantized attention unrounded
};

struct SparsifyOptions : PassPipelineOptions<SparsifyOptions> {
  Option<std::string> pattern{*this, "pattern",
                              llvm::cl::desc("pattern for all self-attention")};
  Option<std::string> policy{
      *this, "policy", llvm::cl::desc("patterns by layer and head, JSON file")};
  Option<int64_t> step{*this, "step", llvm::cl::init(0),
                       llvm::cl::desc("training step of a policy's schedule")};
  Option<bool> floatScores{
      *this, "float-scores", llvm::cl::init(false),
      llvm::cl::desc("leave scores and probabilities of quantized attention "
                     "unrounded")};
  Option<bool> cachesInPlace{
      *this, "caches-in-place", llvm::cl::init(false),
      llvm::cl::desc("write new rows into the caches that come in")};

  SparsifyOptions() = default;
  explicit SparsifyOptions(const PatternChoice &choice) {
    pattern = choice.pattern;
    policy = choice.policy;
    step = choice.step;
    floatScores = choice.floatScores;
  }
};

/// From a graph of ONNX nodes to one whose attentions are raised and have their
/// patterns. Modules without a graph only get the patterns.
void buildSparsifyPipeline(OpPassManager &pm, const SparsifyOptions &options);

/// From ONNX's operators to linalg and tensors; attentions stay.
struct OnnxToLinalgOptions : PassPipelineOptions<OnnxToLinalgOptions> {
  Option<bool> channelsLast{
      *this, "channels-last", llvm::cl::init(false),
      llvm::cl::desc("convolve data whose channels are last in memory")};
  Option<bool> integerTerms{
      *this, "integer-terms", llvm::cl::init(false),
      llvm::cl::desc("multiply packed weights in integers where the accuracy "
                     "asked for allows it")};
  Option<bool> topKOps{
      *this, "top-k-ops", llvm::cl::init(false),
      llvm::cl::desc("leave the search for largest elements to a library")};
};

void buildOnnxToLinalgPipeline(OpPassManager &pm,
                               const OnnxToLinalgOptions &options);

/// From attentions with patterns to links of one piece each.
void buildPiecesPipeline(OpPassManager &pm);

struct AttentionOptions : PassPipelineOptions<AttentionOptions> {
  Option<bool> generic{
      *this, "generic", llvm::cl::init(false),
      llvm::cl::desc("no kernels: lower all attention to linalg")};
  Option<bool> gpu{*this, "gpu", llvm::cl::init(false),
                   llvm::cl::desc("kernels are those of NVIDIA GPUs")};
  Option<bool> fuseLod{
      *this, "fuse-lod", llvm::cl::init(true),
      llvm::cl::desc("fuse pooling and rotary embedding with attention, where "
                     "it becomes kernels")};
};

/// From links of attention to fused attention for the kernels, and to linalg
/// what they do not take, or, with `generic`, all of it.
void buildAttentionPipeline(OpPassManager &pm, const AttentionOptions &options);

struct BufferizeOptions : PassPipelineOptions<BufferizeOptions> {
  Option<bool> widenIntegerProducts{
      *this, "widen-integer-products", llvm::cl::init(false),
      llvm::cl::desc("multiply bytes in f32, exactly")};
  Option<bool> productEpilogues{
      *this, "product-epilogues", llvm::cl::init(false),
      llvm::cl::desc("make bias, residual and activation a part of the product "
                     "before them")};
  Option<int64_t> recomputeMaps{
      *this, "recompute-maps", llvm::cl::init(0),
      llvm::cl::desc("compute an elementwise op of as many ops again in each "
                     "reduction and map that uses it, where that reads no "
                     "more")};
  Option<bool> updateInPlace{
      *this, "update-in-place", llvm::cl::init(false),
      llvm::cl::desc(
          "write an elementwise op's result where what it is of was")};
  Option<bool> fuseRows{
      *this, "fuse-rows", llvm::cl::init(false),
      llvm::cl::desc("do reductions and maps of the same rows as one op")};
  Option<int64_t> longRows{
      *this, "long-rows", llvm::cl::init(0),
      llvm::cl::desc("elements of a row that is not fused where there are few; "
                     "0: none")};
  Option<bool> splitSteps{
      *this, "split-steps", llvm::cl::init(false),
      llvm::cl::desc(
          "do all steps of a loop for each slice of what it carries, "
          "slices in parallel")};
};

/// From tensors with fused attention to memrefs with an owner each.
void buildBufferizePipeline(OpPassManager &pm, const BufferizeOptions &options);

/// What loops may use of a CPU: as passes' options of these names.
struct CPULoopsOptions {
  int64_t vectorBits = 512, vectorRegisters = 32;
  bool amx = false;
};

/// From memrefs to one-dimensional parallel loops, attention as kernels.
void buildCPULoopsPipeline(OpPassManager &pm,
                           const CPULoopsOptions &options = {});

/// From loops to the LLVM dialect, parallel loops as calls of the runtime.
void buildCPUToLLVMPipeline(OpPassManager &pm);

struct GPUOptions : PassPipelineOptions<GPUOptions> {
  Option<std::string> arch{*this, "arch", llvm::cl::init("sm_80"),
                           llvm::cl::desc("compute architecture, sm_80 or a "
                                          "later one that runs its code")};
  Option<std::string> format{
      *this, "format", llvm::cl::init("isa"),
      llvm::cl::desc("isa (PTX), bin (needs ptxas, on PATH, under CUDA_HOME or "
                     "/usr/local/cuda) or fatbin (both; needs fatbinary too)")};
  Option<std::string> toolkit{
      *this, "toolkit",
      llvm::cl::desc("the CUDA toolkit's folder; empty: where it is found")};
  Option<std::string> schedule{
      *this, "schedule",
      llvm::cl::desc("#nvx.schedule of kernels whose operation has none; "
                     "empty: by rule")};
  Option<std::string> schedules{
      *this, "schedules",
      llvm::cl::desc("file of megactx-tune-schedule, before the rule")};
};

/// From fused attention on memrefs to launches of kernels in gpu.binary.
void buildAttentionToGPUPipeline(OpPassManager &pm, const GPUOptions &options);

/// From memrefs to launches on buffers of the device; what has no kernel is an
/// error.
void buildGPULaunchesPipeline(OpPassManager &pm, const GPUOptions &options);

/// From launches to the LLVM dialect, calls of the runtime and gpu.binary.
void buildGPUToLLVMPipeline(OpPassManager &pm);

/// The CUDA toolkit's folder: the one of `ptxas` on PATH, CUDA_HOME, CUDA_PATH,
/// or /usr/local/cuda. Empty where none has both ptxas and fatbinary.
std::string findCudaToolkit();

} // namespace mlir::megactx

#endif
