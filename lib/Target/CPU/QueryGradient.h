//===- QueryGradient.h - query rows in the lanes ----------------*- C++ -*-===//
//
// Owns the walk that kernels of the gradients of queries and of biases share.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_QUERYGRADIENT_H
#define MEGACTX_LIB_TARGET_CPU_QUERYGRADIENT_H

#include "GradientKernel.h"

namespace mlir::megactx::cpu {

class QueryGradientKernel : public GradientKernel {
public:
  using GradientKernel::GradientKernel;

protected:
  Value laneHeads() override { return heads; }
  int64_t laneClasses() override { return views->classes(); }
  Value rowsPerClass() override {
    return a.ceilDiv(queries, a.c(views->period()));
  }
  Value enter(Value batch, Value head, Value viewClass) override;
  Value rowAt(Value i) override { return views->rowAt(i); }
  void task(GradientBuffers &buffers, Value batch, Value head) override;

  /// Goes over the keys that the lanes' rows see.
  void walk(GradientBuffers &buffers, Value batch, Value head);
  /// What follows a block of pairs, those of the first `count` keys.
  virtual void afterBlock(const GradientBuffers &buffers, Value count) {}

private:
  /// The lowest and highest beginning and the lowest and highest end of the
  /// lanes' keys.
  struct Hull {
    Value lowest, highestLow, lowestHigh, highest;
  };
  Hull bounds(unsigned piece, const GradientBuffers &buffers);
  void keysOf(unsigned piece, const GradientBuffers &buffers, Value batch,
              Value keyHead);
};

} // namespace mlir::megactx::cpu

#endif
