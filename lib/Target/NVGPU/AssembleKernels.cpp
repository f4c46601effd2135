//===- AssembleKernels.cpp - machine code, PTX or LLVM IR of kernels ------===//
//
// Upstream's serialization, of whose several messages one error is made: they
// name folders that nobody needs, and say twice that something failed.
//
//===----------------------------------------------------------------------===//

#include "megactx/Target/NVGPU/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/IR/Diagnostics.h"
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
    auto modules = getOperation().getOps<gpu::GPUModuleOp>();
    numModules += std::distance(modules.begin(), modules.end());
    SmallVector<std::string> said;
    LogicalResult done = failure();
    {
      ScopedDiagnosticHandler listening(
          &getContext(), [&](Diagnostic &diagnostic) {
            if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
              return failure();
            said.push_back(StringRef(diagnostic.str()).trim().str());
            return success();
          });
      gpu::TargetOptions options(toolkit, {}, {}, {}, *target);
      done = gpu::transformGpuModulesToBinaries(getOperation(), {}, options);
    }
    if (succeeded(done))
      return;
    InFlightDiagnostic error = emitError(loc, "cannot assemble kernels for ")
                               << arch;
    for (StringRef text : said)
      // What every failure ends in, and what kernels do not use.
      if (!text.starts_with("An error happened") &&
          !text.starts_with("LibDevice path"))
        error << ": " << text;
    error.report();
    signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
