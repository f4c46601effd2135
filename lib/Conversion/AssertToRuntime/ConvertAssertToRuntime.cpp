//===- ConvertAssertToRuntime.cpp - run-time checks as calls --------------===//

#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTASSERTTORUNTIMEPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct ConvertAssertToRuntime
    : impl::ConvertAssertToRuntimePassBase<ConvertAssertToRuntime> {
  void runOnOperation() override {
    SmallVector<cf::AssertOp> asserts;
    getOperation().walk([&](cf::AssertOp op) { asserts.push_back(op); });
    if (asserts.empty())
      return;
    auto any = MemRefType::get({ShapedType::kDynamic},
                               IntegerType::get(&getContext(), 8));
    func::FuncOp fail = runtimeFunction(any);
    SymbolTable symbols(getOperation());
    for (cf::AssertOp op : asserts) {
      ImplicitLocOpBuilder b(op.getLoc(), op);
      memref::GlobalOp text = makeText(symbols, op);
      Value truth = arith::ConstantIntOp::create(b, 1, 1);
      Value bad = arith::XOrIOp::create(b, op.getArg(), truth);
      scf::IfOp::create(b, bad, [&](OpBuilder &nested, Location loc) {
        ImplicitLocOpBuilder in(loc, nested);
        Value characters =
            memref::GetGlobalOp::create(in, text.getType(), text.getSymName());
        Value message = memref::CastOp::create(in, any, characters);
        func::CallOp::create(in, fail, message);
        scf::YieldOp::create(in);
      });
      op.erase();
      ++numChecks;
    }
  }

  func::FuncOp runtimeFunction(Type text) {
    if (auto known = getOperation().lookupSymbol<func::FuncOp>("mctx_rt_fail"))
      return known;
    OpBuilder b = OpBuilder::atBlockBegin(getOperation().getBody());
    auto function =
        func::FuncOp::create(b, getOperation().getLoc(), "mctx_rt_fail",
                             b.getFunctionType(text, {}));
    function.setPrivate();
    function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(),
                      b.getUnitAttr());
    return function;
  }

  /// The message's characters as a constant of the module.
  memref::GlobalOp makeText(SymbolTable &symbols, cf::AssertOp op) {
    StringRef message = op.getMsg();
    OpBuilder b(&getContext());
    auto type =
        MemRefType::get({static_cast<int64_t>(message.size())}, b.getI8Type());
    auto tensor = RankedTensorType::get(type.getShape(), b.getI8Type());
    SmallVector<int8_t> bytes(message.begin(), message.end());
    auto global = memref::GlobalOp::create(
        b, op.getLoc(), "megactx_check", b.getStringAttr("private"), type,
        DenseElementsAttr::get(tensor, ArrayRef<int8_t>(bytes)),
        /*constant=*/true, /*alignment=*/IntegerAttr());
    symbols.insert(global, getOperation().getBody()->begin());
    return global;
  }
};
} // namespace
} // namespace mlir::megactx
