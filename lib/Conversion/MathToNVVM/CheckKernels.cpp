//===- CheckKernels.cpp - kernels call nothing that is not there ----------===//

#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CHECKKERNELSPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct CheckKernels : impl::CheckKernelsPassBase<CheckKernels> {
  void runOnOperation() override {
    DenseSet<StringAttr> known;
    bool ok = true;
    getOperation().walk([&](LLVM::CallOp call) {
      auto callee = call.getCalleeAttr();
      auto function =
          callee
              ? getOperation().lookupSymbol<LLVM::LLVMFuncOp>(callee.getAttr())
              : LLVM::LLVMFuncOp();
      if (function && !function.isExternal())
        return;
      ok = false;
      if (callee && !known.insert(callee.getAttr()).second)
        return;
      call.emitError("no lowering to a GPU for ")
          << (callee ? callee.getValue() : "an indirect call")
          << "; --target=cpu compiles it";
    });
    if (!ok)
      signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
