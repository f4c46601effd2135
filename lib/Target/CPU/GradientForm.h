//===- GradientForm.h - how lanes meet a block of rows ----------*- C++ -*-===//
//
// Owns what forms of a task of gradients differ in, as BlockForm does for
// attention: a form is a class in a file of its own, with that of its blocks
// (GradientBlock); `gradientFormsOf` alone knows them all.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_GRADIENTFORM_H
#define MEGACTX_LIB_TARGET_CPU_GRADIENTFORM_H

#include "Kernel.h"

namespace mlir::megactx::cpu {

class GradientBlock;
struct GradientBuffers;

class GradientForm {
public:
  /// Of so many vectors of lanes.
  GradientForm(const KernelShape &shape, int64_t vectors)
      : shape(shape), vectors(vectors) {}
  virtual ~GradientForm() = default;

  /// Another than other forms have.
  virtual StringRef name() const = 0;
  int64_t lanes() const { return vectors * shape.lanes; }
  /// Rows per block, and how many of them are summed at once.
  virtual int64_t blockRows() const = 0;
  virtual int64_t rowStep() const = 0;
  /// Of `laneA`: scale and log2(e).
  virtual float laneFactor() const { return shape.scaleBase2(); }
  /// The types of `GradientBuffers::own`.
  virtual SmallVector<MemRefType> ownBuffers(MLIRContext *context) const {
    return {};
  }
  /// Of what is its own: from `laneA` and `laneB`.
  virtual void readLanes(ImplicitLocOpBuilder &b,
                         const GradientBuffers &buffers) const {}
  /// The block whose rows are in flat data A and B.
  virtual std::unique_ptr<GradientBlock> block(ImplicitLocOpBuilder &b,
                                               const GradientBuffers &buffers,
                                               Value dataA,
                                               Value dataB) const = 0;

  const KernelShape &shape;
  const int64_t vectors;
};

using GradientFormPtr = std::unique_ptr<GradientForm>;

/// Rows one by one, against vectors with a row in each lane.
GradientFormPtr laneGradientForm(const KernelShape &shape, int64_t vectors);
/// Products by matrix tiles; null where the target has none for kernels of the
/// shape.
GradientFormPtr tileGradientForm(const KernelShape &shape, int64_t vectors);

/// The forms of a kernel, those of fewest lanes first.
SmallVector<GradientFormPtr> gradientFormsOf(const KernelShape &shape);

} // namespace mlir::megactx::cpu

#endif
