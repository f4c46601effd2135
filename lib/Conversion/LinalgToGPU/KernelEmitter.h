//===- KernelEmitter.h - a linalg op as a kernel ----------------*- C++ -*-===//
//
// Owns which threads compute which points of an op's loops. Rows are the points
// of all parallel loops that threads do not run along:
//
//   elements   threads along the innermost parallel loop, so that neighbours
//              touch neighbouring memory; reductions run within a thread
//   rows       threads along the innermost loop, a reduction whose partial
//              results combine: a warp or a block for each row
//
// VectorLoops.h says how many neighbours a thread takes at once.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOGPU_KERNELEMITTER_H
#define MEGACTX_LIB_CONVERSION_LINALGTOGPU_KERNELEMITTER_H

#include "VectorLoops.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace mlir::megactx::gpukernel {

constexpr int64_t kThreads = 256, kWarp = 32; ///< of a block; of a warp

/// One reduced output: `op` combines two partial results, `neutral` changes
/// none.
struct Combiner {
  Operation *op;
  TypedAttr neutral;
  /// Emits the combination.
  Value operator()(ImplicitLocOpBuilder &b, Value x, Value y) const;
};

/// What combines partial results of each output; none where one of them is not
/// known to be combined by a single op.
std::optional<SmallVector<Combiner>> combinersOf(linalg::GenericOp op);

/// The warp's combined value, in every lane.
Value reduceInWarp(ImplicitLocOpBuilder &b, const Combiner &combine, Value x);

/// Replaces the op by a gpu.launch, with the linalg.fill that it starts from
/// and its follower.
class KernelEmitter : VectorLoops {
public:
  explicit KernelEmitter(linalg::GenericOp op) : VectorLoops(op) {}
  using VectorLoops::getFollower;
  void run();

private:
  /// Emits the launch; `inside` the kernel, where `block` and `thread` are set.
  void launch(StringRef kind, Value blocks, int64_t sharedBytes,
              function_ref<void()> inside);
  void elements();
  void neighbours(int64_t count);
  void rows(ArrayRef<Combiner> combiners);
  void reduceRow(ArrayRef<Combiner> combiners, int64_t threads);
  void exchange(ArrayRef<Combiner> combiners, MutableArrayRef<Value> partial);
  bool isLongReduction();
  SmallVector<Value> initialValues();
  Value less(Value x, Value y);
  std::pair<Value, Value> divide(Value x, Value y) override;
  Value blocksFor(Value rows, int64_t rowsOfBlock);
  void when(Value condition, function_ref<void()> inside);

  SmallVector<unsigned> parallel, reductions; ///< loops
  SmallVector<Value> fills; ///< per output: what it was filled with, or null
  Value block, thread;
};

} // namespace mlir::megactx::gpukernel

#endif
