//===- ConvertOnnxToLinalg.cpp - the pass ---------------------------------===//

#include "Lowering.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Conversion/Remarks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTONNXTOLINALGPASS
#include "megactx/Conversion/Passes.h.inc"

/// One error for each operator that has no lowering.
static LogicalResult checkOperators(ArrayRef<func::FuncOp> functions,
                                    const Registry &registry) {
  llvm::MapVector<StringRef, SmallVector<Operation *>> missing;
  for (func::FuncOp function : functions)
    for (Operation &op : function.getOps()) {
      StringRef type = op.getName().getStringRef();
      if (type.consume_front("onnx.") && !registry.contains(type))
        missing[type].push_back(&op);
    }
  for (auto &[type, nodes] : missing) {
    auto name = nodes.front()->getLoc()->findInstanceOf<NameLoc>();
    InFlightDiagnostic error = nodes.front()->emitError("no lowering for ")
                               << type << " (node '"
                               << (name ? name.getName().strref() : "") << "'";
    if (nodes.size() > 1)
      error << " and " << nodes.size() - 1 << " more";
    error << ")";
    if (auto reason = nodes.front()->getAttrOfType<StringAttr>(kReasonAttr))
      error << ": " << reason.getValue();
  }
  return success(missing.empty());
}

static Registry registerAll() {
  Registry registry;
  registerElementwise(registry);
  registerShapeOps(registry);
  registerMovement(registry);
  registerGather(registry);
  registerMatMul(registry);
  registerEinsum(registry);
  registerConv(registry);
  registerConvInteger(registry);
  registerControl(registry);
  registerLoops(registry);
  registerPool(registry);
  registerReduction(registry);
  registerOrder(registry);
  registerTopK(registry);
  registerScatter(registry);
  registerResize(registry);
  registerPad(registry);
  registerNormalization(registry);
  registerScan(registry);
  registerNonZero(registry);
  registerQuantize(registry);
  return registry;
}

static const Registry &allLowerings() {
  static const Registry registry = registerAll();
  return registry;
}

bool isLoweredToLinalg(StringRef name) { return allLowerings().contains(name); }

namespace {
struct ConvertOnnxToLinalg
    : impl::ConvertOnnxToLinalgPassBase<ConvertOnnxToLinalg> {
  using ConvertOnnxToLinalgPassBase::ConvertOnnxToLinalgPassBase;

  void runOnOperation() override {
    const Registry &registry = allLowerings();
    SmallVector<func::FuncOp> functions;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal())
        functions.push_back(function);
    if (failed(checkOperators(functions, registry)))
      return signalPassFailure();
    for (func::FuncOp function : functions)
      if (failed(
              Graph(function, registry, {channelsLast, integerTerms, topKOps})
                  .run()))
        return signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
