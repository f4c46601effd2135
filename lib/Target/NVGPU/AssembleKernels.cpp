//===- AssembleKernels.cpp - machine code, PTX or LLVM IR of kernels ------===//
//
// Upstream's serialization of one module, for all modules side by side, which
// gpu-module-to-binary compiles one by one. Of its several messages one error
// is made: they name folders that nobody needs.
//
//===----------------------------------------------------------------------===//

#include "megactx/Target/NVGPU/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Threading.h"
#include "llvm/ADT/StringSwitch.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_ASSEMBLEKERNELSPASS
#include "megactx/Target/NVGPU/Passes.h.inc"

namespace {
struct AssembleKernels : impl::AssembleKernelsPassBase<AssembleKernels> {
  using AssembleKernelsPassBase::AssembleKernelsPassBase;

  void runOnOperation() override {
    using Target = gpu::CompilationTarget;
    auto target = llvm::StringSwitch<std::optional<Target>>(format)
                      .Case("llvm", Target::Offload)
                      .Case("isa", Target::Assembly)
                      .Case("bin", Target::Binary)
                      .Case("fatbin", Target::Fatbin)
                      .Default(std::nullopt);
    Location loc = getOperation().getLoc();
    if (!target) {
      emitError(loc, "expected the format llvm, isa, bin or fatbin, but got '")
          << format << "'";
      return signalPassFailure();
    }
    SmallVector<gpu::GPUModuleOp> modules(
        getOperation().getOps<gpu::GPUModuleOp>());
    numModules += modules.size();
    SmallVector<std::string> said;
    SmallVector<Attribute> objects(modules.size());
    {
      ScopedDiagnosticHandler listening(
          &getContext(), [&](Diagnostic &diagnostic) {
            if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
              return failure();
            said.push_back(StringRef(diagnostic.str()).trim().str());
            return success();
          });
      gpu::TargetOptions options(toolkit, {}, {}, {}, *target);
      parallelFor(&getContext(), 0, modules.size(), [&](size_t i) {
        objects[i] = assemble(modules[i], options);
      });
    }
    if (llvm::all_of(objects, [](Attribute object) { return bool(object); })) {
      for (auto [module, object] : llvm::zip(modules, objects))
        replace(module, object);
      return;
    }
    InFlightDiagnostic error = emitError(loc, "cannot assemble kernels for ")
                               << arch;
    for (StringRef text : said)
      // What kernels do not use.
      if (!text.starts_with("LibDevice path"))
        error << ": " << text;
    error.report();
    signalPassFailure();
  }

  /// The object of a module's one target, or null.
  static Attribute assemble(gpu::GPUModuleOp module,
                            const gpu::TargetOptions &options) {
    ArrayAttr targets = module.getTargetsAttr();
    auto target = targets && targets.size() == 1
                      ? dyn_cast<gpu::TargetAttrInterface>(targets[0])
                      : nullptr;
    if (!target) {
      module.emitError("expected one target");
      return {};
    }
    auto object = target.serializeToObject(module, options);
    return object ? target.createObject(module, *object, options) : Attribute();
  }

  static void replace(gpu::GPUModuleOp module, Attribute object) {
    OpBuilder b(module);
    gpu::BinaryOp::create(b, module.getLoc(), module.getName(),
                          /*offloadingHandler=*/nullptr,
                          b.getArrayAttr({object}));
    module.erase();
  }
};
} // namespace
} // namespace mlir::megactx
