//===- LaneForm.cpp - rows in the lanes, keys one by one ------------------===//
//
// Owns the form of Kernel.h's formulas: elements of keys and values are
// broadcast, against vectors with a row in each lane; those of f16 and bf16 are
// widened before, once for all rows.
//
//===----------------------------------------------------------------------===//

#include "VectorBlock.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

namespace {
/// Of buffers, but for f32: keys and values as f32, flat.
enum Own { kWideKeys, kWideValues };

class LaneBlock : public VectorBlock {
public:
  using VectorBlock::VectorBlock;

private:
  void enter(const Part &part) override {
    auto widened = [&](const TableRows &rows, Own to) {
      Value buffer = buffers.own.empty() ? Value() : buffers.own[to];
      return lanes.widen(rows, part.begin, part.end, buffer);
    };
    keys = widened(keyRows(), kWideKeys);
    values = widened(valueRows(), kWideValues);
  }
  SmallVector<Value> products(const Part &part, Value n,
                              int64_t count) override {
    return lanes.products(keys, buffers.queries, part.span(), n, count);
  }
  void accumulate(const Part &part, ValueRange decay) override {
    lanes.accumulate(values, buffers.scores, buffers.acc, part.span(),
                     part.begin, part.end, decay);
  }

  TableRows keys, values; ///< of the part at hand
};

class LaneForm : public BlockForm {
public:
  using BlockForm::BlockForm;
  StringRef name() const override { return "lanes"; }
  SmallVector<MemRefType> ownBuffers(MLIRContext *context) const override {
    if (shape.element.isF32())
      return {};
    Type f32 = Float32Type::get(context);
    return {MemRefType::get({kBlockKeys * shape.headDim}, f32),
            MemRefType::get({kBlockKeys * shape.valueDim}, f32)};
  }
  std::unique_ptr<KeyBlock> block(ImplicitLocOpBuilder &b,
                                  const BlockBuffers &buffers,
                                  Value from) const override {
    return std::make_unique<LaneBlock>(b, shape, buffers, from);
  }
};
} // namespace

BlockFormPtr mlir::megactx::cpu::laneForm(const KernelShape &shape,
                                          int64_t vectors) {
  return std::make_unique<LaneForm>(shape, vectors);
}
