//===- GradientKernel.h - emission of kernels of gradients ------*- C++ -*-===//
//
// Owns the two walks: a task of the gradient of queries has query rows in its
// lanes and goes over the keys that they see, as does one of the gradient of a
// bias; one of the gradients of keys and values has key rows in its lanes and
// goes over the queries that see them, of all heads that read them. Each task
// alone writes its sums, so that they are the same in each run.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_GRADIENTKERNEL_H
#define MEGACTX_LIB_TARGET_CPU_GRADIENTKERNEL_H

#include "GradientBlock.h"
#include "KernelFrame.h"
#include "LaneRows.h"

namespace mlir::megactx::cpu {

/// What both walks do.
class GradientKernel : protected KernelFrame {
public:
  using KernelFrame::KernelFrame;
  virtual ~GradientKernel() = default;
  func::FuncOp run();

protected:
  /// Of the rows whose gradients are summed: how many heads have them, into how
  /// many classes they fall, and how many are in one at most.
  virtual Value laneHeads() = 0;
  virtual int64_t laneClasses() = 0;
  virtual Value rowsPerClass() = 0;
  /// Turns to a class of rows of a head; returns how many there are.
  virtual Value enter(Value batch, Value head, Value viewClass) = 0;
  virtual Value rowAt(Value i) = 0;
  /// From the rows that the task's lanes stand for to their sums.
  virtual void task(GradientBuffers &buffers, Value batch, Value head) = 0;

  /// All tasks, of blocks of the form's lanes.
  virtual void tasks(const GradientForm &form, Value most);
  void block(GradientBuffers &buffers, Value batch, Value head, Value number,
             Value perClass);
  void loadLanes(const GradientBuffers &buffers, const BatchOf &a,
                 const BatchOf &b);
  void storeSum(const GradientBuffers &buffers, Value GradientBuffers::*sum,
                float factor, const BatchOf &to);
  /// The number of rows that a block computes on for `left` of them.
  Value blockRows(const GradientBuffers &buffers, Value left);
  /// Fills the places of row `other[n]` in A and B.
  void placeRow(const GradientBuffers &buffers, Value n, Value row,
                Value strideA, Value strideB);
  void storeI32(Value x, Value to, Value at);

  Value lanesHere; ///< how many of the task's lanes have a row

private:
  void tasksByLength(ArrayRef<GradientFormPtr> forms, Value most);
  void startLanes(const GradientBuffers &buffers, Value head, Value first,
                  Value count);
};

/// Adds the kernel of the shape's result to the module.
func::FuncOp emitGradientKernel(KernelParts &parts, StringRef name,
                                const KernelShape &shape);

std::unique_ptr<GradientKernel> queryGradientKernel(KernelParts &parts,
                                                    StringRef name,
                                                    const KernelShape &shape);
std::unique_ptr<GradientKernel>
keyGradientKernel(KernelParts &parts, StringRef name, const KernelShape &shape);
std::unique_ptr<GradientKernel> biasGradientKernel(KernelParts &parts,
                                                   StringRef name,
                                                   const KernelShape &shape);

} // namespace mlir::megactx::cpu

#endif
