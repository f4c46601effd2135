//===- BlockForm.cpp - how a task's rows meet a block of keys -------------===//

#include "BlockForm.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

SmallVector<BlockFormPtr> mlir::megactx::cpu::formsOf(const KernelShape &shape,
                                                      int64_t classes) {
  SmallVector<BlockFormPtr> forms;
  auto add = [&](int64_t vectors) {
    BlockFormPtr tiles = tileForm(shape, vectors);
    forms.push_back(tiles ? std::move(tiles) : laneForm(shape, vectors));
  };
  forms.push_back(rowForm(shape));
  add(1);
  // Sums of six keys by two vectors fill sixteen registers best, and of six by
  // four, thirty-two; there, two without classes would be for short sequences.
  bool manyRegisters = shape.registers >= 32;
  if (classes > 1 || !manyRegisters)
    forms.push_back(laneForm(shape, 2));
  if (manyRegisters)
    add(4);
  // Values are turned for so many rows at once.
  if (BlockFormPtr wide = tileForm(shape, 8))
    forms.push_back(std::move(wide));
  return forms;
}
