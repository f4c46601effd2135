//===- KernelParts.cpp - code that kernels share --------------------------===//

#include "KernelParts.h"
#include "megactx/Support/LLVMAttributes.h"

using namespace mlir;
using namespace mlir::megactx::cpu;

func::FuncOp KernelParts::create(ImplicitLocOpBuilder &b, StringRef name,
                                 FunctionType type, bool unrolls) {
  auto function = func::FuncOp::create(b, name, type);
  function.setPrivate();
  if (!unrolls)
    function->setAttr(kPassthrough, b.getStrArrayAttr({kNoUnrollAttr}));
  return function;
}

void KernelParts::call(ImplicitLocOpBuilder &b, StringRef key,
                       ValueRange operands, function_ref<void(ValueRange)> body,
                       bool unrolls) {
  auto type = b.getFunctionType(operands.getTypes(), {});
  std::string full = key.str();
  llvm::raw_string_ostream(full) << ' ' << type;
  func::FuncOp &function = functions[full];
  if (!function) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(module.getBody());
    std::string name;
    do
      name = "mctx_attention_part_" + std::to_string(number++);
    while (module.lookupSymbol(name));
    function = create(b, name, type, unrolls);
    b.setInsertionPointToStart(function.addEntryBlock());
    body(function.getArguments());
    func::ReturnOp::create(b);
  }
  func::CallOp::create(b, function, operands);
}
