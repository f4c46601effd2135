//===- KernelParts.h - code that kernels share ------------------*- C++ -*-===//
//
// Owns the functions that kernels of one module call: whatever depends neither
// on the pieces nor on which rows a task has (a block of keys, rows into the
// lanes and out of them) is emitted once per head dim, element type and form of
// block, however many pieces and kernels use it. Emitted in place it would be
// most of the code, and of the time to compile it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_KERNELPARTS_H
#define MEGACTX_LIB_TARGET_CPU_KERNELPARTS_H

#include "Kernel.h"

namespace mlir::megactx::cpu {

class KernelParts {
public:
  explicit KernelParts(ModuleOp module) : module(module) {}

  /// A private function, whose loops LLVM leaves as they are, but where it
  /// `unrolls`.
  static func::FuncOp create(ImplicitLocOpBuilder &b, StringRef name,
                             FunctionType type, bool unrolls = false);

  /// Calls the function of this key and these types of operands; `body`, given
  /// its arguments, emits it with `b` where there is none yet. The key names
  /// all that the body depends on beside its arguments. `unrolls`: as of
  /// `create`.
  void call(ImplicitLocOpBuilder &b, StringRef key, ValueRange operands,
            function_ref<void(ValueRange)> body, bool unrolls = false);

  ModuleOp getModule() const { return module; }

private:
  ModuleOp module;
  llvm::StringMap<func::FuncOp> functions;
  unsigned number = 0;
};

} // namespace mlir::megactx::cpu

#endif
