//===- ConvertLinalgToTasks.cpp - linalg on memrefs as parallel tasks -----===//
//
// Owns the pass --megactx-convert-linalg-to-tasks.
//
//===----------------------------------------------------------------------===//

#include "FusedRowTasks.h"
#include "PackedProductTasks.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Support/VectorBits.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTLINALGTOTASKSPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct ConvertLinalgToTasks
    : impl::ConvertLinalgToTasksPassBase<ConvertLinalgToTasks> {
  using ConvertLinalgToTasksPassBase::ConvertLinalgToTasksPassBase;

  void runOnOperation() override {
    if (grain < 1) {
      getOperation().emitError("expected a grain of at least 1, but got ")
          << int64_t(grain);
      return signalPassFailure();
    }
    if (failed(verifyVectorBits(getOperation(), vectorBits)))
      return signalPassFailure();
    int64_t lanes = vectorBits / 32;
    SmallVector<FusedRowsOp> fused;
    getOperation()->walk([&](FusedRowsOp op) { fused.push_back(op); });
    for (FusedRowsOp op : fused)
      FusedRowTasks(op, grain, lanes).run();
    SmallVector<PackedProductOp> products;
    getOperation()->walk([&](PackedProductOp op) { products.push_back(op); });
    for (PackedProductOp op : products)
      PackedProductTasks(op, lanes).run();
    lowerGenericOps(getOperation(), [&](linalg::GenericOp op) {
      TaskEmitter tasks(op, grain, lanes);
      tasks.run();
      numFollowers += bool(tasks.getFollower());
      return tasks.getFollower();
    });
  }
};
} // namespace
} // namespace mlir::megactx
