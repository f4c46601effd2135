//===- LaneForm.cpp - rows in the lanes, keys one by one ------------------===//
//
// Owns the form of Kernel.h's formulas: elements of keys and values are
// broadcast, against vectors with a row in each lane.
//
//===----------------------------------------------------------------------===//

#include "VectorBlock.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

namespace {
class LaneBlock : public VectorBlock {
public:
  using VectorBlock::VectorBlock;

private:
  SmallVector<Value> products(const Part &part, Value n,
                              int64_t count) override {
    return lanes.products(keyRows(), buffers.queries, part.span(), n, count);
  }
  void accumulate(const Part &part, ValueRange decay) override {
    lanes.accumulate(valueRows(), buffers.scores, buffers.acc, part.span(),
                     part.begin, part.end, decay);
  }
};

class LaneForm : public BlockForm {
public:
  using BlockForm::BlockForm;
  StringRef name() const override { return "lanes"; }
  std::unique_ptr<KeyBlock> block(ImplicitLocOpBuilder &b,
                                  const BlockBuffers &buffers,
                                  Value from) const override {
    return std::make_unique<LaneBlock>(b, shape, buffers, from);
  }
};
} // namespace

Form mlir::megactx::cpu::laneForm(const KernelShape &shape, int64_t vectors) {
  return std::make_unique<LaneForm>(shape, vectors);
}
