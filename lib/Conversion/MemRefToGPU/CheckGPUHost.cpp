//===- CheckGPUHost.cpp - what has no lowering to a GPU -------------------===//

#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Index/IR/IndexDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CHECKGPUHOSTPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// Arithmetic on single numbers, control, buffers, and what becomes a launch.
bool staysOnHost(Operation *op) {
  if (isa<scf::ParallelOp, scf::ForallOp, scf::ReduceOp>(op))
    return false;
  if (isFused(op) ||
      isa<nvx::EncodeTensorMapOp, nvx::MultiprocessorsOp, nvx::ReportChecksOp>(
          op))
    return true;
  return isa<affine::AffineDialect, arith::ArithDialect, cf::ControlFlowDialect,
             func::FuncDialect, gpu::GPUDialect, index::IndexDialect,
             math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
             ub::UBDialect, BuiltinDialect>(op->getDialect());
}

struct CheckGPUHost : impl::CheckGPUHostPassBase<CheckGPUHost> {
  void runOnOperation() override {
    llvm::MapVector<OperationName, SmallVector<Operation *>> missing;
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<gpu::GPUModuleOp, gpu::BinaryOp>(op))
        return WalkResult::skip();
      if (op->getDialect() && staysOnHost(op))
        return WalkResult::advance();
      missing[op->getName()].push_back(op);
      return WalkResult::skip();
    });
    if (missing.empty())
      return;
    std::string list;
    llvm::raw_string_ostream os(list);
    llvm::interleaveComma(missing, os, [&](auto &entry) {
      os << entry.first << " (" << entry.second.size() << ")";
    });
    InFlightDiagnostic error =
        getOperation().emitError("no lowering to a GPU for ")
        << list << "; --target=cpu compiles them";
    for (auto &[name, ops] : missing)
      error.attachNote(ops.front()->getLoc()) << "the first " << name;
    error.report();
    signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
