//===- KernelLoops.h - loops of a linalg op in a kernel ---------*- C++ -*-===//
//
// Owns what every kernel of linalg ops needs: the launch, which block and
// thread this is, and what partial results of threads are.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOGPU_KERNELLOOPS_H
#define MEGACTX_LIB_CONVERSION_LINALGTOGPU_KERNELLOOPS_H

#include "VectorLoops.h"
#include "megactx/Dialect/MegaCtx/IR/Combiner.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace mlir::megactx::gpukernel {

using nvx::kWarp;
constexpr int64_t kThreads = 256; ///< of a block

class KernelLoops : public VectorLoops {
protected:
  using VectorLoops::VectorLoops;

  /// Emits the launch; `inside` the kernel, where `block` and `thread` are set.
  void launch(StringRef kind, Value blocks, int64_t sharedBytes,
              function_ref<void()> inside);
  /// Blocks of so many rows each.
  Value blocksFor(Value rows, int64_t rowsOfBlock);

  Value less(Value x, Value y);
  std::pair<Value, Value> divide(Value x, Value y) override;
  void when(Value condition, function_ref<void()> inside);

  Value block, thread;
};

} // namespace mlir::megactx::gpukernel

#endif
