//===- ConvertAssertToRuntime.cpp - run-time checks as calls --------------===//

#include "../LinalgToRuntime/RuntimeFunction.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTASSERTTORUNTIMEPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct ConvertAssertToRuntime
    : impl::ConvertAssertToRuntimePassBase<ConvertAssertToRuntime> {
  void runOnOperation() override {
    texts.clear(); // the same pass may have run on another module
    SmallVector<Operation *> checks;
    getOperation().walk([&](Operation *op) {
      if (isa<cf::AssertOp, nvx::ReportChecksOp>(op))
        checks.push_back(op);
    });
    SymbolTable symbols(getOperation());
    for (Operation *op : checks) {
      if (auto check = dyn_cast<cf::AssertOp>(op))
        convert(check, symbols);
      else
        convert(cast<nvx::ReportChecksOp>(op), symbols);
      op->erase();
    }
  }

  void convert(cf::AssertOp op, SymbolTable &symbols) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    memref::GlobalOp text = makeText(symbols, op, op.getMsg());
    Value truth = arith::ConstantIntOp::create(b, 1, 1);
    Value bad = arith::XOrIOp::create(b, op.getArg(), truth);
    scf::IfOp::create(b, bad, [&](OpBuilder &nested, Location loc) {
      ImplicitLocOpBuilder in(loc, nested);
      Value message = characters(in, text);
      func::CallOp::create(
          in,
          runtimeFunction(getOperation(), "mctx_rt_fail", TypeRange(message)),
          message);
      scf::YieldOp::create(in);
    });
    ++numChecks;
  }

  void convert(nvx::ReportChecksOp op, SymbolTable &symbols) {
    std::string texts;
    for (StringRef text : op.getTexts().getAsValueRange<StringAttr>())
      (texts += text) += '\0';
    ImplicitLocOpBuilder b(op.getLoc(), op);
    SmallVector<Value> operands = {op.getNumber(),
                                   characters(b, makeText(symbols, op, texts))};
    func::FuncOp function = runtimeFunction(
        getOperation(), "mctx_rt_report_checks", TypeRange(operands));
    function->setAttr(kOnDeviceAttr, b.getUnitAttr());
    func::CallOp::create(b, function, operands);
    numChecks += op.getTexts().size();
  }

  /// Characters as a constant of the module, one for all who say the same.
  memref::GlobalOp makeText(SymbolTable &symbols, Operation *op,
                            StringRef message) {
    memref::GlobalOp &global = texts[message];
    if (global)
      return global;
    OpBuilder b(&getContext());
    auto type =
        MemRefType::get({static_cast<int64_t>(message.size())}, b.getI8Type());
    auto tensor = RankedTensorType::get(type.getShape(), b.getI8Type());
    SmallVector<int8_t> bytes(message.begin(), message.end());
    global = memref::GlobalOp::create(
        b, op->getLoc(), "megactx_check", b.getStringAttr("private"), type,
        DenseElementsAttr::get(tensor, ArrayRef<int8_t>(bytes)),
        /*constant=*/true, /*alignment=*/IntegerAttr());
    symbols.insert(global, getOperation().getBody()->begin());
    return global;
  }

  static Value characters(ImplicitLocOpBuilder &b, memref::GlobalOp text) {
    Value all =
        memref::GetGlobalOp::create(b, text.getType(), text.getSymName());
    return memref::CastOp::create(
        b, MemRefType::get({ShapedType::kDynamic}, b.getI8Type()), all);
  }

  llvm::StringMap<memref::GlobalOp> texts;
};
} // namespace
} // namespace mlir::megactx
