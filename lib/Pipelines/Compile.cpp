//===- Compile.cpp - from a model file to an artifact ---------------------===//

#include "megactx/Pipelines/Compile.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "megactx/Onnx/Onnx.h"
#include "megactx/Pipelines/Explain.h"
#include "megactx/Pipelines/Pipelines.h"
#include "megactx/Pipelines/Registration.h"
#include "megactx/Support/Output.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/SourceMgr.h"
#include <chrono>
#include <functional>

using namespace mlir;
using namespace mlir::megactx;

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
  explicit Compilation(const CompileOptions &options)
      : options(options), target(hostTarget()) {
    megactx::registerAllDialects(registry);
    mlir::registerAllDialects(registry);
    registerAllExtensions(registry);
    registerBuiltinDialectTranslation(registry);
    registerLLVMDialectTranslation(registry);
    context.appendDialectRegistry(registry);
    // Diagnostics name places; whole operations would bury them.
    context.printOpOnDiagnostic(false);
    context.loadDialect<MegaCtxDialect>();
  }

  LogicalResult run();

private:
  using Clock = std::chrono::steady_clock;

  LogicalResult load();
  LogicalResult passes(StringRef what,
                       function_ref<void(OpPassManager &)> build);
  void report(StringRef what, Clock::time_point since);
  LogicalResult print();
  Form form();
  SmallVector<Phase> phases();
  FailureOr<bool> lower();
  void countSparsified();
  int64_t countAttentions(function_ref<bool(AttentionOp)> which);
  bool stopsAt(StringRef level) const { return options.level == level; }

  const CompileOptions &options;
  CPUTarget target;
  DialectRegistry registry;
  MLIRContext context;
  llvm::SourceMgr sources;
  OwningOpRef<ModuleOp> module;
  int64_t raised = 0, sparsified = 0;
  llvm::json::Object notes; ///< what the artifact says of the model
};
} // namespace

void Compilation::report(StringRef what, Clock::time_point since) {
  std::chrono::duration<double> seconds = Clock::now() - since;
  llvm::errs() << llvm::formatv("  {0,-44}{1,8:f2} s\n", what, seconds.count());
}

LogicalResult Compilation::load() {
  Clock::time_point start = Clock::now();
  if (StringRef(options.input).ends_with(".onnx"))
    module = onnx::importOnnx(options.input, &context);
  else
    module = parseSourceFile<ModuleOp>(options.input, sources,
                                       ParserConfig(&context));
  if (!module || failed(verify(*module)))
    return failure();
  report("read " + options.input, start);
  return success();
}

LogicalResult Compilation::passes(StringRef what,
                                  function_ref<void(OpPassManager &)> build) {
  Clock::time_point start = Clock::now();
  PassManager pm(&context);
  build(pm);
  if (failed(pm.run(*module)))
    return failure();
  report(what, start);
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

int64_t Compilation::countAttentions(function_ref<bool(AttentionOp)> which) {
  int64_t count = 0;
  module->walk([&](AttentionOp op) { count += which(op); });
  return count;
}

Form Compilation::form() {
  if (module->lookupSymbol<LLVM::LLVMFuncOp>("mctx_main"))
    return Form::Code;
  bool graph = (*module)->hasAttr(onnx::OnnxDialect::kModelAttr);
  bool tensors = false;
  auto isTensor = llvm::IsaPred<TensorType>;
  module->walk([&](Operation *op) {
    if (auto function = dyn_cast<func::FuncOp>(op))
      tensors |= llvm::any_of(function.getArgumentTypes(), isTensor) ||
                 llvm::any_of(function.getResultTypes(), isTensor);
    tensors |= llvm::any_of(op->getResultTypes(), isTensor);
    graph &=
        isa<ModuleOp>(op) ||
        isa_and_nonnull<onnx::OnnxDialect, func::FuncDialect>(op->getDialect());
  });
  return graph ? Form::Graph : tensors ? Form::Tensors : Form::Buffers;
}

/// The pipelines of all phases; `form` is the last one that each takes.
SmallVector<Phase> Compilation::phases() {
  auto withClean = [](std::unique_ptr<Pass> (*create)()) {
    return [create](OpPassManager &pm) {
      pm.addPass(create());
      pm.addPass(createCanonicalizerPass());
      pm.addPass(createCSEPass());
    };
  };
  return {
      {"normalize, raise attention", "", Form::Graph,
       [](OpPassManager &pm) {
         pm.addPass(createNormalizeOnnxPass());
         pm.addPass(createRaiseOnnxAttentionPass());
       }},
      {"sparsify", "attention", Form::Tensors,
       [&](OpPassManager &pm) {
         raised = countAttentions([](AttentionOp) { return true; });
         SparsifyPassOptions sparsify;
         sparsify.pattern = options.pattern;
         sparsify.policy = options.policy;
         sparsify.step = options.step;
         pm.addPass(createSparsifyPass(sparsify));
       }},
      {"operators to linalg", "linalg", Form::Tensors,
       [&,
        build = withClean(createConvertOnnxToLinalgPass)](OpPassManager &pm) {
         countSparsified();
         build(pm);
       }},
      {"patterns to pieces", "pieces", Form::Tensors,
       [&, build = withClean(createDecomposePatternsPass)](OpPassManager &pm) {
         notes["attentions"] = describeAttentions(*module);
         build(pm);
         pm.addPass(createHoistWeightsPass());
       }},
      {"pieces to kernels", "fused", Form::Tensors,
       [&](OpPassManager &pm) {
         CPUAttentionOptions attention;
         attention.generic = options.generic;
         buildCPUAttentionPipeline(pm, attention);
       }},
      {"tensors to memrefs", "memref", Form::Tensors, buildBufferizePipeline},
      {"attention kernels, loops", "loops", Form::Buffers,
       [&](OpPassManager &pm) {
         buildCPULoopsPipeline(pm, target.vectorBits);
       }},
      {"loops to LLVM", "llvm", Form::Buffers, buildCPUToLLVMPipeline}};
}

void Compilation::countSparsified() {
  if (options.pattern.empty() && options.policy.empty())
    return;
  sparsified = countAttentions([](AttentionOp op) {
    return llvm::any_of(op.getSources(), [](Value operand) {
      auto source = operand.getDefiningOp<SourceOp>();
      return source && !source.getPattern().getPattern().isDense();
    });
  });
}

/// Runs the phases that the input is not past, up to the level asked for.
/// Returns whether that level was reached and written.
FailureOr<bool> Compilation::lower() {
  SmallVector<Phase> ahead = phases();
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
        (toCode && failed(addEntry(*module))))
      return failure();
    if (stopsAt(phase.level))
      return failed(print()) ? FailureOr<bool>(failure()) : true;
  }
  return false;
}

LogicalResult Compilation::run() {
  SourceMgrDiagnosticHandler handler(sources, &context);
  if (failed(load()))
    return failure();
  if (stopsAt("input"))
    return print();
  FailureOr<bool> written = lower();
  if (failed(written) || *written)
    return success(succeeded(written));
  FailureOr<Interface> interface = Interface::of(*module);
  if (failed(interface))
    return failure();
  Clock::time_point start = Clock::now();
  if (failed(writeArtifact(*module, *interface, target, std::move(notes),
                           options.output)))
    return failure();
  report("code for " + target.cpu, start);
  llvm::errs() << llvm::formatv("raised {0} attentions, sparsified {1}\n",
                                raised, sparsified);
  return success();
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
  if (options.target != "cpu") {
    llvm::errs() << "error: unknown target '" << options.target
                 << "', expected cpu\n";
    return failure();
  }
  return Compilation(options).run();
}
