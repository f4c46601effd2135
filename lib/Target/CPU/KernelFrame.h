//===- KernelFrame.h - a kernel's function ----------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_CPU_KERNELFRAME_H
#define MEGACTX_LIB_TARGET_CPU_KERNELFRAME_H

#include "../Common/KeyViews.h"
#include "Kernel.h"
#include "KernelParts.h"

namespace mlir::megactx::cpu {

/// What the emission of each kernel begins with: its function, which is being
/// built, with its arguments, sizes and views as values of it.
struct KernelFrame {
  KernelFrame(KernelParts &parts, StringRef name, const KernelShape &shape);

  /// Body where the piece applies to the head that the views have entered.
  void ifHead(unsigned piece, function_ref<void()> body);

  const KernelShape &shape;
  KernelParts &parts;
  ImplicitLocOpBuilder b;
  Arith a;
  func::FuncOp function;
  KernelArguments arguments;
  Value batches, heads, queries, keys, keyHeads, group;
  std::unique_ptr<KeyViews> views;
};

} // namespace mlir::megactx::cpu

#endif
