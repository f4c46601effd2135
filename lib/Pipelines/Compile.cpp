//===- Compile.cpp - from a model file to an artifact ---------------------===//

#include "megactx/Pipelines/Compile.h"
#include "ComputedWeights.h"
#include "ModelFile.h"
#include "RemarkCollector.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Conversion/Remarks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Onnx/Onnx.h"
#include "megactx/Pipelines/Explain.h"
#include "megactx/Pipelines/Pipelines.h"
#include "megactx/Support/Output.h"
#include "megactx/Target/NVGPU/Architecture.h"
#include "megactx/Transforms/Layers.h"
#include "megactx/Transforms/Passes.h"
#include "megactx/Transforms/Policy.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Verifier.h"
#include <chrono>
#include <functional>

using namespace mlir;
using namespace mlir::megactx;
namespace json = llvm::json;

namespace {
/// What a module is made of, which says where its compilation goes on. Every
/// level can be read back: a graph of ONNX nodes; ops on tensors, of which each
/// phase takes its own and leaves the others; memrefs; or LLVM with an entry.
enum class Form { Graph, Tensors, Buffers, Code };

struct Phase {
  StringRef what;
  StringRef level; ///< what its result is called, empty: no level to stop at
  Form form;
  std::function<void(OpPassManager &)> build;
};

/// One compilation, phase after phase.
class Compilation {
public:
  Compilation(const CompileOptions &options, ArtifactTarget target)
      : options(options), target(std::move(target)) {}

  LogicalResult run();

private:
  using Clock = std::chrono::steady_clock;

  LogicalResult load();
  LogicalResult passes(StringRef what,
                       function_ref<void(OpPassManager &)> build);
  void report(StringRef what, Clock::time_point since);
  LogicalResult computeConstants();
  LogicalResult print();
  Form form();
  SmallVector<Phase> tensorPhases();
  SmallVector<Phase> cpuPhases();
  SmallVector<Phase> gpuPhases();
  FailureOr<bool> lower();
  void countAttentions();
  static void printLeft(const RemarkCollector &remarks);
  bool stopsAt(StringRef level) const { return options.level == level; }

  const CompileOptions &options;
  ArtifactTarget target;
  ModelFile file;
  OwningOpRef<ModuleOp> &module = file.module;
  int64_t raised = 0, sparsified = 0;
  llvm::json::Object notes; ///< what the artifact says of the model
};
} // namespace

void Compilation::report(StringRef what, Clock::time_point since) {
  if (!options.progress)
    return;
  std::chrono::duration<double> seconds = Clock::now() - since;
  llvm::errs() << llvm::formatv("  {0,-44}{1,8:f2} s\n", what, seconds.count());
}

LogicalResult Compilation::load() {
  Clock::time_point start = Clock::now();
  if (failed(file.read(options.input)))
    return failure();
  report("read " + options.input, start);
  return success();
}

LogicalResult Compilation::passes(StringRef what,
                                  function_ref<void(OpPassManager &)> build) {
  Clock::time_point start = Clock::now();
  PassManager pm(&file.context);
  // After each pass it takes a quarter of the time of all passes.
  pm.enableVerifier(false);
  build(pm);
  if (failed(pm.run(*module)) || failed(verify(*module)))
    return failure();
  report(what, start);
  return success();
}

LogicalResult Compilation::computeConstants() {
  if (!module->lookupSymbol(kComputedWeights))
    return success();
  Clock::time_point start = Clock::now();
  if (failed(computeWeights(*module)))
    return failure();
  report("weights computed of weights", start);
  return success();
}

LogicalResult Compilation::print() {
  llvm::Error error = writeOutput(options.output, [&](llvm::raw_ostream &os) {
    module->print(os);
    os << '\n';
  });
  if (!error)
    return success();
  llvm::errs() << "error: cannot write '" << options.output
               << "': " << llvm::toString(std::move(error)) << "\n";
  return failure();
}

Form Compilation::form() {
  if (module->lookupSymbol<LLVM::LLVMFuncOp>("mctx_main"))
    return Form::Code;
  if (onnx::isGraph(*module))
    return Form::Graph;
  bool tensors = false;
  auto isTensor = llvm::IsaPred<TensorType>;
  module->walk([&](Operation *op) {
    if (auto function = dyn_cast<func::FuncOp>(op))
      tensors |= llvm::any_of(function.getArgumentTypes(), isTensor) ||
                 llvm::any_of(function.getResultTypes(), isTensor);
    tensors |= llvm::any_of(op->getResultTypes(), isTensor);
  });
  return tensors ? Form::Tensors : Form::Buffers;
}

/// Each phase's `form` is the last one that it takes. Up to memrefs the phases
/// are those of every target.
SmallVector<Phase> Compilation::tensorPhases() {
  return {
      {"find attention, sparsify", "attention", Form::Tensors,
       [&](OpPassManager &pm) {
         SparsifyOptions sparsify(options.patterns);
         sparsify.cachesInPlace = options.cachesInPlace;
         buildSparsifyPipeline(pm, sparsify);
       }},
      {"operators to linalg", "linalg", Form::Tensors,
       [&](OpPassManager &pm) {
         countAttentions();
         OnnxToLinalgOptions graph;
         // What has been measured on GPUs is in f32.
         graph.integerTerms = target.device.empty();
         // oneDNN convolves on CPUs.
         graph.channelsLast = target.device.empty();
         graph.topKOps = target.device.empty();
         buildOnnxToLinalgPipeline(pm, graph);
         pm.addPass(createOutlineComputedWeightsPass());
       }},
      {"patterns to pieces", "pieces", Form::Tensors,
       [&](OpPassManager &pm) {
         notes["attentions"] = describeAttentions(*module);
         buildPiecesPipeline(pm);
       }},
      {"pieces to kernels", "fused", Form::Tensors,
       [&](OpPassManager &pm) {
         AttentionOptions attention;
         attention.generic = options.generic;
         attention.fuseLod = options.fuseLod;
         attention.gpu = !target.device.empty();
         buildAttentionPipeline(pm, attention);
       }},
      {"tensors to memrefs", "memref", Form::Tensors, [&](OpPassManager &pm) {
         BufferizeOptions bufferize;
         bufferize.widenIntegerProducts = !target.device.empty();
         // A launch and memory cost a GPU more than arithmetic.
         bufferize.recomputeMaps = target.device.empty() ? 4 : 1024;
         // A GPU has it in registers.
         bufferize.updateInPlace = target.device.empty();
         // oneDNN is faster without.
         bufferize.productEpilogues = !target.device.empty();
         bufferize.fuseRows = true;
         bufferize.longRows = target.device.empty() ? 8192 : 0;
         // A GPU's launches are made by the host, one after the other.
         bufferize.splitSteps = target.device.empty();
         // Every constant that a kernel reads is in the device's memory.
         if (!target.device.empty())
           pm.addPass(createHoistWeightsPass({/*threshold=*/1}));
         buildBufferizePipeline(pm, bufferize);
       }}};
}

SmallVector<Phase> Compilation::cpuPhases() {
  return {{"attention kernels, loops", "loops", Form::Buffers,
           [&](OpPassManager &pm) {
             const CPUTarget &cpu = target.host;
             buildCPULoopsPipeline(
                 pm, {cpu.vectorBits, cpu.vectorRegisters, cpu.amx});
           }},
          {"loops to LLVM", "llvm", Form::Buffers, buildCPUToLLVMPipeline}};
}

SmallVector<Phase> Compilation::gpuPhases() {
  // The driver compiles PTX when the model first runs.
  bool isPtxAlone = findCudaToolkit().empty();
  return {{isPtxAlone ? "kernels (PTX alone: no ptxas), launches"
                      : "kernels, launches",
           "loops", Form::Buffers,
           [&, isPtxAlone](OpPassManager &pm) {
             GPUOptions gpu;
             gpu.arch = target.device;
             gpu.schedule = options.schedule;
             gpu.schedules = options.schedules;
             gpu.format = isPtxAlone ? "isa" : "fatbin";
             buildGPULaunchesPipeline(pm, gpu);
           }},
          {"launches to LLVM", "llvm", Form::Buffers, buildGPUToLLVMPipeline}};
}

void Compilation::countAttentions() {
  const PatternChoice &choice = options.patterns;
  std::string error; // the pass has reported it
  std::optional<Policy> rules = choice.policy.empty()
                                    ? Policy::ofPattern(choice.pattern, error)
                                    : Policy::read(choice.policy, error);
  for (auto [op, number] : layersOf(*module)) {
    int64_t heads = op.getQuery().getType().getDimSize(1);
    auto chosen = rules ? rules->patternFor(number, op.getKind(), heads,
                                            choice.step, error)
                        : std::nullopt;
    sparsified += chosen && !chosen->isDense();
    ++raised;
  }
}

/// Runs the phases that the input is not past, up to the level asked for.
/// Returns whether that level was reached and written.
FailureOr<bool> Compilation::lower() {
  SmallVector<Phase> ahead = tensorPhases();
  llvm::append_range(ahead, target.device.empty() ? cpuPhases() : gpuPhases());
  llvm::erase_if(ahead,
                 [input = form()](const Phase &p) { return input > p.form; });
  if (!stopsAt("artifact") &&
      llvm::none_of(ahead, [&](const Phase &p) { return stopsAt(p.level); }))
    return module->emitError("the input is past level '")
           << options.level << "', which cannot be written from it";
  for (const Phase &phase : ahead) {
    bool toCode = phase.level == "llvm";
    // What is no tensor of numbers is found before anything is lowered.
    if (phase.level == "memref" && failed(Interface::of(*module)))
      return failure();
    if (toCode && failed(Interface::keep(*module)))
      return failure();
    if (failed(passes(phase.what, phase.build)) ||
        (toCode && failed(addEntry(*module))) || failed(computeConstants()))
      return failure();
    if (stopsAt(phase.level))
      return failed(print()) ? FailureOr<bool>(failure()) : true;
  }
  return false;
}

/// What no pattern can be chosen for, as it is not found to be attention.
void Compilation::printLeft(const RemarkCollector &remarks) {
  size_t left = llvm::count_if(remarks.missed(), [](const json::Value &remark) {
    return remark.getAsObject()->getString("name") == kAttentionNotRaised;
  });
  if (left)
    llvm::errs() << "  " << left
                 << " not raised to attention, megactx-explain says why\n";
}

LogicalResult Compilation::run() {
  DiagnosticPrinter printing(file);
  FailureOr<RemarkCollector> remarks =
      RemarkCollector::listen(file.context, options.remarksFilter);
  if (failed(remarks) || failed(load()))
    return failure();
  if (stopsAt("input"))
    return print();
  FailureOr<bool> written = lower();
  if (failed(written) || *written)
    return success(succeeded(written));
  FailureOr<Interface> interface = Interface::of(*module);
  if (failed(interface))
    return failure();
  // What is past the pieces no longer says what its attentions were.
  json::Array attentions;
  if (const json::Array *known = notes.getArray("attentions"))
    attentions = *known;
  if (notes.get("attentions"))
    notes["missed"] = json::Array(remarks->missed());
  Clock::time_point start = Clock::now();
  if (failed(writeArtifact(*module, *interface, target, std::move(notes),
                           options.output)))
    return failure();
  report("code for " + target.name(), start);
  printAttentions(attentions, llvm::errs());
  if (!options.patterns.pattern.empty() || !options.patterns.policy.empty())
    printLeft(*remarks);
  llvm::errs() << llvm::formatv("raised {0} attentions, sparsified {1}\n",
                                raised, sparsified);
  return success();
}

/// What the option names: this process's CPU, another one, or a GPU. Nullopt
/// where nothing is called so.
static std::optional<ArtifactTarget> targetOf(const CompileOptions &options) {
  if (options.target == "cpu")
    return ArtifactTarget{hostTarget(), "", options.optimization};
  if (nvgpu::machineOf(options.target))
    return ArtifactTarget{genericTarget(), options.target,
                          options.optimization};
  if (std::optional<CPUTarget> cpu = cpuNamed(options.target))
    return ArtifactTarget{*cpu, "", options.optimization};
  return std::nullopt;
}

static void printUnknownTarget(StringRef name) {
  llvm::errs() << "error: unknown target '" << name << "', ";
  std::optional<std::string> nearest = nearestCPU(name);
  if (auto architecture = nvgpu::nearestArchitecture(name))
    nearest = architecture->str();
  if (nearest)
    llvm::errs() << "did you mean '" << *nearest << "'? ";
  llvm::errs() << "expected cpu, another CPU by LLVM's name for it (x86-64-v3, "
                  "znver4, neoverse-v1), or a GPU's architecture: "
               << llvm::join(nvgpu::architectures(), ", ") << "\n";
}

LogicalResult mlir::megactx::compile(const CompileOptions &options) {
  static constexpr StringLiteral levels[] = {"input",  "attention", "linalg",
                                             "pieces", "fused",     "memref",
                                             "loops",  "llvm",      "artifact"};
  if (!llvm::is_contained(levels, options.level)) {
    llvm::errs() << "error: unknown level '" << options.level
                 << "', expected one of " << llvm::join(ArrayRef(levels), ", ")
                 << "\n";
    return failure();
  }
  std::optional<ArtifactTarget> target = targetOf(options);
  if (!target) {
    printUnknownTarget(options.target);
    return failure();
  }
  for (auto [option, value] : {std::pair("--schedule", options.schedule),
                               std::pair("--schedules", options.schedules)})
    if (!value.empty() && target->device.empty()) {
      llvm::errs() << "error: " << option
                   << " is of a GPU's kernels, but the target is "
                   << options.target << "\n";
      return failure();
    }
  // Before the work.
  std::string fault =
      options.level == "artifact" ? faultOfPlace(options.output) : "";
  if (!fault.empty()) {
    llvm::errs() << "error: cannot write '" << options.output << "': " << fault
                 << "\n";
    return failure();
  }
  return Compilation(options, *target).run();
}

void mlir::megactx::printOperators(llvm::raw_ostream &os) {
  for (const onnx::Operator &op : onnx::standardOperators()) {
    // Only raising knows Attention.
    StringRef state = isLoweredToLinalg(op.name) ? "compiled"
                      : op.isInlined             ? "inlined"
                      : op.name == "Attention"   ? "raised"
                                                 : "refused";
    os << op.name << ' ' << state << '\n';
  }
}
