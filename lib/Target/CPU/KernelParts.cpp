//===- KernelParts.cpp - code that kernels share --------------------------===//

#include "KernelParts.h"

using namespace mlir;
using namespace mlir::megactx::cpu;

void KernelParts::call(ImplicitLocOpBuilder &b, StringRef key,
                       ValueRange operands,
                       function_ref<void(ValueRange)> body) {
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
    function = func::FuncOp::create(b, name, type);
    function.setPrivate();
    function->setAttr(kPassthrough, b.getStrArrayAttr({kNoUnrollAttr}));
    b.setInsertionPointToStart(function.addEntryBlock());
    body(function.getArguments());
    func::ReturnOp::create(b);
  }
  func::CallOp::create(b, function, operands);
}
