//===- ConvertLinalgToGPU.cpp - linalg on memrefs as kernels --------------===//

#include "KernelEmitter.h"
#include "RowKernel.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTLINALGTOGPUPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct ConvertLinalgToGPU
    : impl::ConvertLinalgToGPUPassBase<ConvertLinalgToGPU> {
  void runOnOperation() override {
    SmallVector<FusedRowsOp> fused;
    getOperation()->walk([&](FusedRowsOp op) { fused.push_back(op); });
    for (FusedRowsOp op : fused) {
      gpukernel::RowKernel kernel(op);
      numFused += kernel.getNumOps();
      kernel.run();
      ++numLaunches;
    }
    lowerGenericOps(getOperation(), [&](linalg::GenericOp op) {
      ++numLaunches;
      if (gpukernel::isLongReduction(op))
        return lower<gpukernel::RowKernel>(op);
      return lower<gpukernel::KernelEmitter>(op);
    });
  }

  template <typename Kernel> linalg::GenericOp lower(linalg::GenericOp op) {
    Kernel kernel(op);
    kernel.run();
    numFollowers += bool(kernel.getFollower());
    return kernel.getFollower();
  }
};
} // namespace
} // namespace mlir::megactx
