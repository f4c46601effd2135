//===- WgmmaFragments.cpp - products by wgmma -----------------------------===//

#include "Fragments.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

namespace {
class WgmmaFragments : public Fragments {
public:
  WgmmaFragments(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                 const Tiling &tiling, Value lane, Value warp)
      : Fragments(b, shape, tiling, lane, warp),
        operands(b, shape.element, lane, warp) {}
  void bind(const BlockOperands &rows) override;
  State turn(State state, const Turn &turn, Value keys, Value values) override;
  State finish(State state, Value values, Value row,
               function_ref<void()> passTurn) override;

private:
  static constexpr int64_t kStep = 16, kWarps = 4;
  /// Bytes of a row of a panel.
  static constexpr int64_t kRowBytes = 2 * TileLayout::panel;

  Value advance(Value descriptor, int64_t bytes);
  Value product(Value lhs, Value rhs, Value sum, int64_t columns,
                bool transpose);
  Value startScores(Value shared, Value row);
  Value startValues(ValueRange out, ValueRange due, Value shared, Value row);
  ResultRange wait(int64_t left, ValueRange underWay, Value after = {});
  Value total(Value x);
  Value join(ValueRange tiles);
  SmallVector<Value> split(Value joined);

  WarpOperands operands;
  /// A of the scores: for each 16 columns.
  SmallVector<Value> queries;
};
} // namespace

Value WgmmaFragments::advance(Value descriptor, int64_t bytes) {
  Value units = arith::ConstantIntOp::create(b, bytes / 16, 64);
  return arith::AddIOp::create(b, descriptor, units);
}

Value WgmmaFragments::product(Value lhs, Value rhs, Value sum, int64_t columns,
                              bool transpose) {
  auto type = VectorType::get({columns / 8, 2, 2}, b.getF32Type());
  return nvx::WgmmaOp::create(b, type, lhs, rhs, sum,
                              TypeAttr::get(shape.element),
                              transpose ? b.getUnitAttr() : UnitAttr());
}

ResultRange WgmmaFragments::wait(int64_t left, ValueRange underWay,
                                 Value after) {
  return nvx::WgmmaWaitOp::create(b, b.getI64IntegerAttr(left), after, underWay)
      .getResults();
}

/// Of the elements of an accumulator.
Value WgmmaFragments::total(Value x) {
  auto elements = vector::ToElementsOp::create(b, x);
  Value sum = elements->getResult(0);
  for (Value y : elements->getResults().drop_front())
    sum = arith::AddFOp::create(b, sum, y);
  return sum;
}

Value WgmmaFragments::join(ValueRange tiles) {
  SmallVector<Value> elements;
  for (Value x : tiles)
    llvm::append_range(elements,
                       vector::ToElementsOp::create(b, x).getResults());
  auto type = VectorType::get({int64_t(tiles.size()), 2, 2}, b.getF32Type());
  return vector::FromElementsOp::create(b, type, elements);
}

SmallVector<Value> WgmmaFragments::split(Value joined) {
  SmallVector<Value> tiles;
  int64_t count = cast<VectorType>(joined.getType()).getDimSize(0);
  for (int64_t n = 0; n < count; ++n)
    tiles.push_back(vector::ExtractOp::create(b, joined, n));
  return tiles;
}

void WgmmaFragments::bind(const BlockOperands &rows) {
  Value first = a.mul(a.div(warp, a.c(kWarps)), a.c(16 * kWarps));
  Value descriptor = nvx::WgmmaDescriptorOp::create(b, rows.query, first,
                                                    /*transpose=*/UnitAttr());
  for (int64_t d = 0; d < tiling.paddedHead; d += kStep)
    queries.push_back(
        tiling.queriesInRegisters
            ? operands.loadRows(rows.query, tiling.queryTile, d)
            : advance(descriptor, tiling.queryTile.panelOffset(d)));
}

Value WgmmaFragments::startScores(Value shared, Value row) {
  Value keys = nvx::WgmmaDescriptorOp::create(b, shared, row, UnitAttr());
  NVVM::WgmmaFenceAlignedOp::create(b);
  Value sum;
  for (auto [k, q] : llvm::enumerate(queries))
    sum = product(q, advance(keys, tiling.keyTile.panelOffset(kStep * k)), sum,
                  tiling.keys, /*transpose=*/false);
  NVVM::WgmmaGroupSyncAlignedOp::create(b);
  return sum;
}

Value WgmmaFragments::startValues(ValueRange out, ValueRange due, Value shared,
                                  Value row) {
  Value values =
      nvx::WgmmaDescriptorOp::create(b, shared, row, b.getUnitAttr());
  Value sum = join(out);
  NVVM::WgmmaFenceAlignedOp::create(b);
  for (auto [k, p] : llvm::enumerate(due))
    sum = product(p, advance(values, kStep * k * kRowBytes), sum,
                  tiling.paddedValue, /*transpose=*/true);
  NVVM::WgmmaGroupSyncAlignedOp::create(b);
  return sum;
}

/// The softmax of this tile runs while the values of the tile before are
/// multiplied: the order of FlashAttention-3 within a warpgroup.
State WgmmaFragments::turn(State state, const Turn &turn, Value keys,
                           Value values) {
  turn.takeTurn();
  Value sum = startScores(keys, turn.keyRow), out;
  if (!state.due.empty())
    out = startValues(state.out, state.due, values, turn.valueRow);
  turn.passTurn();
  turn.copyNext();
  Value products = wait(out ? 1 : 0, sum)[0];
  Softmax step = softmax(state, turn.scores(split(products)));
  if (out) {
    // Weights become an operand where the last one is no longer read.
    ResultRange done = wait(0, {out, join(step.weights)}, total(state.sum));
    state.out = split(done[0]);
    step.weights = split(done[1]);
  }
  turn.release();
  rescale(state.out, step);
  state.due = operands.narrow(step.weights);
  return state;
}

State WgmmaFragments::finish(State state, Value values, Value row,
                             function_ref<void()> passTurn) {
  Value out = startValues(state.out, state.due, values, row);
  passTurn();
  state.out = split(wait(0, out)[0]);
  state.due.clear();
  return state;
}

std::unique_ptr<Fragments> mlir::megactx::nvgpu::createWgmmaFragments(
    ImplicitLocOpBuilder &b, const AttentionShape &shape, const Tiling &tiling,
    Value lane, Value warp) {
  return std::make_unique<WgmmaFragments>(b, shape, tiling, lane, warp);
}
