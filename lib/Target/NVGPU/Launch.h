//===- Launch.h - launches of an attention kernel ---------------*- C++ -*-===//
//
// Owns what the host computes for a kernel: its grid, into how many parts keys
// are split, and memory for the results of parts, which is the device's and
// lives as long as the launch: parts x B x Hq x Nq x (Dv + 1) numbers of f32,
// and none where there is one part.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_LAUNCH_H
#define MEGACTX_LIB_TARGET_NVGPU_LAUNCH_H

#include "../Common/AttentionShape.h"
#include "../Common/Emit.h"
#include "Tiling.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace mlir::megactx::nvgpu {

/// A kernel and, where it may split keys, that which merges the parts. `kind`:
/// the class that measured schedules have it under; none of gradients.
struct Kernels {
  nvx::ScheduleAttr schedule;
  std::string kind;
  gpu::GPUFuncOp attention, merge;
};

/// Kernels for launches where a class of the view has up to so many rows; for
/// any number, where nothing is said.
struct KernelsUpTo {
  Kernels kernels;
  std::optional<int64_t> mostRows;
};

class LaunchEmitter {
public:
  /// `operands` are those of kernelArguments; constant tables become globals
  /// of the module.
  LaunchEmitter(ImplicitLocOpBuilder &b, Operation *module,
                const AttentionShape &shape, ValueRange operands);

  /// By the last ones that are for as many rows as a class has: the first are
  /// for any number, and each for more than the next.
  void launch(ArrayRef<KernelsUpTo> choices);

private:
  void launch(const Kernels &kernels);
  void launchByKeys(const Kernels &kernels);
  void launch(const Kernels &kernels, const Tiling &tiling,
              gpu::KernelDim3 grid, ValueRange all);
  Value keysOfLastRow();
  Value blocksAtOnce(nvx::ScheduleAttr schedule, Value units);

  ImplicitLocOpBuilder &b;
  Arith a;
  Operation *module;
  const AttentionShape &shape;
  SmallVector<Value> operands;
  KernelArguments arguments;
  Value batches, heads, queries, group, rowsOfClass;
  Value keys; ///< of the last row, once something asked for them
  int64_t period, classes;
};

} // namespace mlir::megactx::nvgpu

#endif
