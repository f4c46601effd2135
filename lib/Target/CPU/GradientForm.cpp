//===- GradientForm.cpp - how lanes meet a block of rows ------------------===//

#include "GradientForm.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

SmallVector<GradientFormPtr>
mlir::megactx::cpu::gradientFormsOf(const KernelShape &shape) {
  SmallVector<GradientFormPtr> forms;
  forms.push_back(laneGradientForm(shape, 1));
  forms.push_back(laneGradientForm(shape, 2));
  if (shape.lanes != 16)
    return forms;
  GradientFormPtr tiles = tileGradientForm(shape, 4);
  forms.push_back(tiles ? std::move(tiles) : laneGradientForm(shape, 4));
  return forms;
}
