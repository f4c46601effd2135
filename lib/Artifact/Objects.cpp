//===- Objects.cpp - object code of a module ------------------------------===//

#include "Objects.h"
#include "Split.h"
#include "megactx/Support/LLVMAttributes.h"
#include "mlir/IR/Threading.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/IPO/Internalize.h"
#include "llvm/Transforms/IPO/MergeFunctions.h"
#include "llvm/Transforms/Vectorize/SLPVectorizer.h"

using namespace mlir;
using namespace mlir::megactx;

/// Where functions ask for it.
static void disableUnrolling(llvm::Module &code) {
  for (llvm::Function &function : code) {
    if (!function.hasFnAttribute(kNoUnrollAttr))
      continue;
    llvm::DominatorTree dominators(function);
    llvm::LoopInfo loops(dominators);
    for (llvm::Loop *loop : loops.getLoopsInPreorder())
      loop->setLoopAlreadyUnrolled();
  }
}

static llvm::OptimizationLevel pipelineLevel(llvm::CodeGenOptLevel level) {
  switch (level) {
  case llvm::CodeGenOptLevel::None:
    return llvm::OptimizationLevel::O0;
  case llvm::CodeGenOptLevel::Less:
    return llvm::OptimizationLevel::O1;
  case llvm::CodeGenOptLevel::Default:
    return llvm::OptimizationLevel::O2;
  case llvm::CodeGenOptLevel::Aggressive:
    return llvm::OptimizationLevel::O3;
  }
  llvm_unreachable("every level has its pipeline");
}

namespace {
/// LLVM's vectorizer of what is alike side by side. It looks at all pairs in a
/// block; a graph's own is thousands of stores long, and has no arithmetic.
struct VectorizeArithmetic : llvm::PassInfoMixin<VectorizeArithmetic> {
  static bool isLongAndIdle(const llvm::BasicBlock &block) {
    constexpr size_t kLong = 1000, kLeastShare = 16; // instructions
    return block.size() > kLong &&
           llvm::count_if(block, [](const llvm::Instruction &instruction) {
             return instruction.isBinaryOp() &&
                    instruction.getType()->isFPOrFPVectorTy();
           }) < int64_t(block.size() / kLeastShare);
  }

  llvm::PreservedAnalyses run(llvm::Function &function,
                              llvm::FunctionAnalysisManager &analyses) {
    if (llvm::any_of(function, isLongAndIdle))
      return llvm::PreservedAnalyses::all();
    return llvm::SLPVectorizerPass().run(function, analyses);
  }
};
} // namespace

/// Nobody calls anything but the entry: what is inlined wherever it is called
/// need not be compiled for itself too, and the loops that a model's layers
/// have in common are compiled once.
static void shareFunctions(llvm::Module &code) {
  llvm::internalizeModule(code, [](const llvm::GlobalValue &value) {
    return value.getName() == "mctx_main";
  });
  for (llvm::Function &function : code)
    if (function.hasLocalLinkage())
      function.setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
  llvm::MergeFunctionsPass::runOnModule(code);
}

/// LLVM's pipeline of the machine's level.
static void optimize(llvm::Module &code, llvm::TargetMachine &machine) {
  disableUnrolling(code);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerVectorizerEndEPCallback(
      [](llvm::FunctionPassManager &passes, llvm::OptimizationLevel level) {
        if (level.getSpeedupLevel() > 1)
          passes.addPass(VectorizeArithmetic());
      });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(pipelineLevel(machine.getOptLevel()))
      .run(code, modules);
}

namespace {
/// Makes machines for one target; a machine serves one thread.
struct MachineMaker {
  const CPUTarget &target;
  llvm::CodeGenOptLevel level;
  const llvm::Target *backend = nullptr;

  std::unique_ptr<llvm::TargetMachine> make() const {
    llvm::TargetOptions options;
    options.AllowFPOpFusion = llvm::FPOpFusion::Fast;
    options.UseInitArray = true;
    return std::unique_ptr<llvm::TargetMachine>(backend->createTargetMachine(
        target.triple, target.cpu, target.features, options, llvm::Reloc::PIC_,
        std::nullopt, level));
  }
};
} // namespace

static void setTarget(llvm::Module &code, const MachineMaker &machines) {
  code.setTargetTriple(machines.target.triple);
  code.setDataLayout(machines.make()->createDataLayout());
  for (llvm::Function &function : code) {
    function.addFnAttr("target-cpu", machines.target.cpu);
    function.addFnAttr("target-features", machines.target.features);
    if (machines.target.vectorBits == 512)
      function.addFnAttr("prefer-vector-width", "512");
  }
}

/// The object code of a part; empty where the target has none. LLVM's contexts
/// serve one thread each: the part comes as bitcode.
static ObjectCode compilePart(StringRef bitcode, const MachineMaker &machines) {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code = llvm::cantFail(
      llvm::parseBitcodeFile(llvm::MemoryBufferRef(bitcode, "part"), context));
  std::unique_ptr<llvm::TargetMachine> machine = machines.make();
  optimize(*code, *machine);
  ObjectCode object;
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager passes;
  if (!machine->addPassesToEmitFile(passes, stream, nullptr,
                                    llvm::CodeGenFileType::ObjectFile))
    passes.run(*code);
  return object;
}

/// The module's parts as bitcode, for contexts of their own.
static FailureOr<std::vector<ObjectCode>>
translateToParts(ModuleOp module, const MachineMaker &machines) {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(module, context);
  if (!code)
    return module.emitError("cannot translate to LLVM IR");
  setTarget(*code, machines);
  shareFunctions(*code);
  Split split(*code);
  std::vector<ObjectCode> parts(split.size());
  for (auto [number, part] : llvm::enumerate(parts)) {
    llvm::raw_svector_ostream stream(part);
    llvm::WriteBitcodeToFile(*split.part(number), stream);
  }
  return parts;
}

FailureOr<std::vector<ObjectCode>>
mlir::megactx::compileToObjects(ModuleOp module, const CPUTarget &target,
                                llvm::CodeGenOptLevel level) {
  MachineMaker machines{target, level};
  std::string error;
  machines.backend = llvm::TargetRegistry::lookupTarget(target.triple, error);
  if (!machines.backend)
    return module.emitError("no code generator: ") << error;
  FailureOr<std::vector<ObjectCode>> parts = translateToParts(module, machines);
  if (failed(parts))
    return failure();
  std::vector<ObjectCode> objects(parts->size());
  parallelFor(module.getContext(), 0, parts->size(), [&](size_t number) {
    ArrayRef<char> part = (*parts)[number];
    objects[number] =
        compilePart(StringRef(part.data(), part.size()), machines);
  });
  if (llvm::any_of(objects, [](const ObjectCode &o) { return o.empty(); }))
    return module.emitError("the target cannot emit object files");
  return objects;
}
