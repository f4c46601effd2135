//===- CheckKernels.cpp - kernels call nothing that is not there ----------===//

#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CHECKKERNELSPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// Of CUDA's libdevice, what the function is for: __nv_exp is exp of f64.
std::string nameOf(LLVM::CallOp call, StringRef function) {
  std::string name;
  llvm::raw_string_ostream os(name);
  if (!function.consume_front("__nv_") || call.getNumResults() != 1)
    return function.str();
  os << function << " of " << call.getResult().getType();
  return name;
}

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
          << (callee ? nameOf(call, callee.getValue()) : "an indirect call")
          << "; --target=cpu compiles it";
    });
    if (!ok)
      signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
