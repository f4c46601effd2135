//===- KernelEmitter.h - a linalg op as a kernel ----------------*- C++ -*-===//
//
// Owns which threads compute which points of an op's loops. Rows are the points
// of all parallel loops that threads do not run along:
//
//   elements   threads along the innermost parallel loop, so that neighbours
//              touch neighbouring memory; reductions run within a thread
//   rows       threads along the innermost loop, a reduction whose partial
//              results combine: RowKernel.h
//
// VectorLoops.h says how many neighbours a thread takes at once.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOGPU_KERNELEMITTER_H
#define MEGACTX_LIB_CONVERSION_LINALGTOGPU_KERNELEMITTER_H

#include "KernelLoops.h"

namespace mlir::megactx::gpukernel {

/// Whether the op reduces along its innermost loop, over so many elements or a
/// number that is not known that threads share them, and how they do.
bool isLongReduction(linalg::GenericOp op);

/// Replaces an op that is none by a gpu.launch, with the linalg.fill that it
/// starts from and its follower.
class KernelEmitter : KernelLoops {
public:
  explicit KernelEmitter(linalg::GenericOp op) : KernelLoops(op) {}
  using KernelLoops::getFollower;
  void run();

private:
  void elements();
  void neighbours(int64_t count);

  SmallVector<unsigned> parallel, reductions; ///< loops
};

} // namespace mlir::megactx::gpukernel

#endif
