//===- ConvertOnnxToLinalg.cpp - the pass ---------------------------------===//

#include "Lowering.h"
#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTONNXTOLINALGPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct ConvertOnnxToLinalg
    : impl::ConvertOnnxToLinalgPassBase<ConvertOnnxToLinalg> {
  void runOnOperation() override {
    Registry registry;
    registerElementwise(registry);
    registerShapeOps(registry);
    registerMovement(registry);
    registerGather(registry);
    registerMatMul(registry);
    registerEinsum(registry);
    registerConv(registry);
    registerReduction(registry);
    registerNormalization(registry);
    registerScan(registry);
    SmallVector<func::FuncOp> functions;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal())
        functions.push_back(function);
    for (func::FuncOp function : functions)
      if (failed(Graph(function).run(registry)))
        return signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
