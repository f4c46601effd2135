//===- NormalizeOnnx.cpp - to one opset -----------------------------------===//

#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "megactx/Onnx/Onnx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_NORMALIZEONNXPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
struct NormalizeOnnx : impl::NormalizeOnnxPassBase<NormalizeOnnx> {
  void runOnOperation() override {
    if (onnx::isGraph(getOperation()) &&
        failed(onnx::normalizeOnnx(getOperation())))
      signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
