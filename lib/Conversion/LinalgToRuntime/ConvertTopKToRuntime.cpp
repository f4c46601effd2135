//===- ConvertTopKToRuntime.cpp - largest elements as calls ---------------===//

#include "RuntimeFunction.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTTOPKTORUNTIMEPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct ConvertTopKToRuntime
    : impl::ConvertTopKToRuntimePassBase<ConvertTopKToRuntime> {
  void runOnOperation() override {
    SmallVector<TopKOp> found;
    getOperation().walk([&](TopKOp op) { found.push_back(op); });
    for (TopKOp op : found)
      convert(op);
  }

  void convert(TopKOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    SmallVector<Value> operands;
    for (Value memref : op->getOperands()) {
      Type element = getElementTypeOrSelf(memref.getType());
      operands.push_back(memref::CastOp::create(
          b, UnrankedMemRefType::get(element, Attribute()), memref));
    }
    for (int64_t number : {int64_t(op.getAxis()), int64_t(op.getLargest())})
      operands.push_back(arith::ConstantIntOp::create(b, number, 64));
    std::string name = "mctx_rt_top_k_";
    llvm::raw_string_ostream(name) << getElementTypeOrSelf(op.getData());
    func::CallOp::create(
        b, runtimeFunction(getOperation(), name, TypeRange(operands)),
        operands);
    op.erase();
  }
};
} // namespace
} // namespace mlir::megactx
