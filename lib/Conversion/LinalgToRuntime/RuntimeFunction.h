//===- RuntimeFunction.h - functions of the runtime -------------*- C++ -*-===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTORUNTIME_RUNTIMEFUNCTION_H
#define MEGACTX_LIB_CONVERSION_LINALGTORUNTIME_RUNTIMEFUNCTION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace mlir::megactx {

/// The declaration under that name, made where there is none: it takes pointers
/// to memrefs' descriptors.
inline func::FuncOp runtimeFunction(ModuleOp module, StringRef name,
                                    TypeRange operands) {
  if (auto known = module.lookupSymbol<func::FuncOp>(name))
    return known;
  OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
  auto function = func::FuncOp::create(b, module.getLoc(), name,
                                       b.getFunctionType(operands, {}));
  function.setPrivate();
  function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(),
                    b.getUnitAttr());
  return function;
}

} // namespace mlir::megactx

#endif
