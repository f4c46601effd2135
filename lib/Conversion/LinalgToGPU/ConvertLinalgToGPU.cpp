//===- ConvertLinalgToGPU.cpp - linalg on memrefs as kernels --------------===//

#include "KernelEmitter.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTLINALGTOGPUPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct ConvertLinalgToGPU
    : impl::ConvertLinalgToGPUPassBase<ConvertLinalgToGPU> {
  void runOnOperation() override {
    // Fills last: what a reduction starts from becomes a part of its kernel.
    for (bool fills : {false, true}) {
      DenseSet<Operation *> done;
      auto wanted = [&](linalg::LinalgOp op) {
        return isa<linalg::FillOp>(op) == fills;
      };
      for (linalg::GenericOp op : genericOps(getOperation(), wanted)) {
        if (done.contains(op))
          continue;
        gpukernel::KernelEmitter kernel(op);
        kernel.run();
        ++numLaunches;
        if (linalg::GenericOp follower = kernel.getFollower()) {
          done.insert(follower);
          ++numFollowers;
        }
      }
    }
  }
};
} // namespace
} // namespace mlir::megactx
