//===- RingLoader.cpp - tiles from a warp that only loads -----------------===//

#include "RingLoader.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

/// Warps of a warpgroup.
constexpr int64_t kWarps = 4;

static StageNumbers numbersOf(const BlockBarriers &barriers,
                              const Tiling &tiling) {
  return {barriers.b, tiling.stages, 2 * tiling.stages};
}

/// The parity of the phase before that of a parity. No phase has ended in the
/// first turn, and of a barrier without one, waits for that end at once.
static Value before(ImplicitLocOpBuilder &b, Value parity) {
  return Arith{b}.bitXor(parity, arith::ConstantIntOp::create(b, 1, 32));
}

void mlir::megactx::nvgpu::startRing(const BlockBarriers &barriers,
                                     const Tiling &tiling, Value thread) {
  SmallVector<int64_t> arrivals(tiling.stages, 1);
  arrivals.append(tiling.stages, kWarps * tiling.warpgroups());
  arrivals.append(tiling.warpgroups(), 1);
  arrivals.append(tiling.warpgroups(), kWarps);
  barriers.start(thread, arrivals);
}

void RingWriter::load(const RowSource &source, Value shared,
                      const TileLayout &layout, Value row, int64_t rows,
                      Value from, Value) {
  loadBoxes(barriers, open, source, shared, layout, row, rows, from);
}

void RingWriter::group(Value number, function_ref<void()> loads) {
  ImplicitLocOpBuilder &b = barriers.b;
  Arith a{b};
  StageNumbers numbers = numbersOf(barriers, tiling);
  open = numbers.stageOf(number);
  barriers.wait(a.add(open, a.c(tiling.emptyStages())),
                before(b, numbers.parityOf(number)));
  loads();
  barriers.arrive(open);
}

void RingWriter::loadQueries(const RowSource &source, Value shared, Value turn,
                             Value begin) {
  ImplicitLocOpBuilder &b = barriers.b;
  Arith a{b};
  for (int64_t i = 0; i < tiling.warpgroups(); ++i) {
    barriers.wait(a.c(tiling.emptyQueries() + i), before(b, turn));
    Value row = a.c(i * tiling.queryBoxRows());
    Value full = a.c(tiling.fullQueries() + i);
    loadBoxes(barriers, full, source, shared, tiling.queryTile, row,
              tiling.queryBoxRows(), a.add(begin, row));
    barriers.arrive(full);
  }
}

void RingReader::wait(Value number, int64_t) {
  StageNumbers numbers = numbersOf(barriers, tiling);
  barriers.wait(numbers.stageOf(number), numbers.parityOf(number));
}

/// What the warp's lanes read went through an instruction that they all take
/// part in, and that waits.
void RingReader::arriveOfWarp(Value at) {
  ImplicitLocOpBuilder &b = barriers.b;
  Arith a{b};
  Value isFirst = a.eq(a.rem(thread, a.c(32)), a.c(0));
  scf::IfOp::create(b, isFirst, [&](OpBuilder &, Location) {
    barriers.arrive(at);
    scf::YieldOp::create(b);
  });
}

/// Lanes of the warp wait for each other.
void RingReader::meet() {
  NVVM::SyncWarpOp::create(barriers.b,
                           arith::ConstantIntOp::create(barriers.b, -1, 32));
}

void RingReader::release(Value number) {
  Arith a{barriers.b};
  Value stage = numbersOf(barriers, tiling).stageOf(number);
  arriveOfWarp(a.add(stage, a.c(tiling.emptyStages())));
}

void RingReader::releaseUnread(Value number) {
  meet();
  release(number);
}

void RingReader::clear(Value shared, const TileLayout &layout, Value row,
                       int64_t rows, Value from, Value end) {
  clearRows(barriers.b, tiling, thread, shared, layout, row, rows, from, end);
}

Value RingReader::warpgroup() {
  Arith a{barriers.b};
  return a.div(thread, a.c(Tiling::kWarpgroupThreads));
}

/// The barrier, of all threads, at which a warpgroup waits and that before it
/// arrives. Number 0 is that of the block, 1 that of those that compute.
Value RingReader::turnOf(Value warpgroup) {
  constexpr int64_t first = 2;
  Arith a{barriers.b};
  return arith::IndexCastOp::create(barriers.b, barriers.b.getI32Type(),
                                    a.add(warpgroup, a.c(first)));
}

/// Of two warpgroups.
static Value threadsOfTurn(ImplicitLocOpBuilder &b) {
  return arith::ConstantIntOp::create(b, 2 * Tiling::kWarpgroupThreads, 32);
}

void RingReader::takeTurn() {
  if (tiling.warpgroups() == 1)
    return;
  NVVM::BarrierOp::create(barriers.b, TypeRange(), turnOf(warpgroup()),
                          threadsOfTurn(barriers.b),
                          NVVM::BarrierReductionAttr(), Value());
}

void RingReader::passTurn() {
  if (tiling.warpgroups() == 1)
    return;
  Arith a{barriers.b};
  Value next = a.add(warpgroup(), a.c(1)), all = a.c(tiling.warpgroups());
  next = a.select(a.lt(next, all), next, a.c(0));
  // nvvm.barrier.arrive is inline assembly, which LLVM may move into branches.
  LLVM::CallIntrinsicOp::create(
      barriers.b,
      barriers.b.getStringAttr("llvm.nvvm.barrier.cta.arrive.aligned.count"),
      ValueRange{turnOf(next), threadsOfTurn(barriers.b)});
}

void RingReader::startTurns() {
  Arith a{barriers.b};
  Value isLast = a.le(a.c(tiling.warpgroups() - 1), warpgroup());
  emitIf(barriers.b, isLast, [&] { passTurn(); });
}

void RingReader::waitForQueries(Value turn) {
  Arith a{barriers.b};
  barriers.wait(a.add(warpgroup(), a.c(tiling.fullQueries())), turn);
}

void RingReader::releaseQueries() {
  Arith a{barriers.b};
  // Lanes that hold queries have read them each by itself; where there was no
  // tile, none may be behind by two phases, which it could not tell apart.
  meet();
  arriveOfWarp(a.add(warpgroup(), a.c(tiling.emptyQueries())));
}
