//===- Compile.cpp - from a model file to an artifact ---------------------===//

#include "megactx/Pipelines/Compile.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "megactx/Onnx/Onnx.h"
#include "megactx/Pipelines/Pipelines.h"
#include "megactx/Pipelines/Registration.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/SourceMgr.h"
#include <chrono>

using namespace mlir;
using namespace mlir::megactx;

namespace {
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
  int64_t countAttentions(function_ref<bool(AttentionOp)> which);
  bool stopsAt(StringRef level) const { return options.level == level; }

  const CompileOptions &options;
  CPUTarget target;
  DialectRegistry registry;
  MLIRContext context;
  llvm::SourceMgr sources;
  OwningOpRef<ModuleOp> module;
  int64_t raised = 0, sparsified = 0;
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
  llvm::Error error =
      llvm::writeToOutput(options.output, [&](llvm::raw_ostream &os) {
        module->print(os);
        os << '\n';
        return llvm::Error::success();
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

LogicalResult Compilation::run() {
  SourceMgrDiagnosticHandler handler(sources, &context);
  if (failed(load()))
    return failure();
  if (stopsAt("input"))
    return print();
  bool isOnnx = (*module)->hasAttr(onnx::OnnxDialect::kModelAttr);
  if (isOnnx &&
      failed(passes("normalize, raise attention", [](OpPassManager &pm) {
        pm.addPass(createNormalizeOnnxPass());
        pm.addPass(createRaiseOnnxAttentionPass());
      })))
    return failure();
  raised = countAttentions([](AttentionOp) { return true; });
  if (failed(passes("sparsify", [&](OpPassManager &pm) {
        SparsifyPassOptions sparsify;
        sparsify.pattern = options.pattern;
        sparsify.policy = options.policy;
        sparsify.step = options.step;
        pm.addPass(createSparsifyPass(sparsify));
      })))
    return failure();
  sparsified = countAttentions([](AttentionOp op) {
    return llvm::any_of(op.getSources(), [](Value operand) {
      auto source = operand.getDefiningOp<SourceOp>();
      return source && !source.getPattern().getPattern().isDense();
    });
  });
  if (options.pattern.empty() && options.policy.empty())
    sparsified = 0;
  if (stopsAt("attention"))
    return print();
  if (failed(passes("operators to linalg", [](OpPassManager &pm) {
        pm.addPass(createConvertOnnxToLinalgPass());
        pm.addPass(createCanonicalizerPass());
        pm.addPass(createCSEPass());
      })))
    return failure();
  if (stopsAt("linalg"))
    return print();
  if (failed(passes("patterns to pieces", [](OpPassManager &pm) {
        pm.addPass(createDecomposePatternsPass());
        pm.addPass(createCanonicalizerPass());
        pm.addPass(createCSEPass());
        pm.addPass(createHoistWeightsPass());
      })))
    return failure();
  if (stopsAt("pieces"))
    return print();
  if (failed(passes("pieces to kernels", [&](OpPassManager &pm) {
        CPUAttentionOptions attention;
        attention.generic = options.generic;
        buildCPUAttentionPipeline(pm, attention);
      })))
    return failure();
  if (stopsAt("fused"))
    return print();
  FailureOr<Interface> interface = Interface::take(*module);
  if (failed(interface) ||
      failed(passes("tensors to memrefs", buildBufferizePipeline)))
    return failure();
  if (stopsAt("memref"))
    return print();
  if (failed(passes("attention kernels, loops", [&](OpPassManager &pm) {
        buildCPULoopsPipeline(pm, target.vectorBits);
      })))
    return failure();
  if (stopsAt("loops"))
    return print();
  if (failed(passes("loops to LLVM", buildCPUToLLVMPipeline)) ||
      failed(addEntry(*module)))
    return failure();
  if (stopsAt("llvm"))
    return print();
  Clock::time_point start = Clock::now();
  if (failed(writeArtifact(*module, *interface, target, {}, options.output)))
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
