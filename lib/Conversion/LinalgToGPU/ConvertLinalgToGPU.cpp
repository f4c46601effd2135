//===- ConvertLinalgToGPU.cpp - linalg on memrefs as kernels --------------===//

#include "KernelEmitter.h"
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
    lowerGenericOps(getOperation(), [&](linalg::GenericOp op) {
      gpukernel::KernelEmitter kernel(op);
      kernel.run();
      ++numLaunches;
      numFollowers += bool(kernel.getFollower());
      return kernel.getFollower();
    });
  }
};
} // namespace
} // namespace mlir::megactx
