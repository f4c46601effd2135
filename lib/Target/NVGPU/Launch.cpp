//===- Launch.cpp - launches of an attention kernel -----------------------===//

#include "Launch.h"
#include "../Common/QueryViews.h"
#include "BlockRows.h"
#include "MergeParts.h"
#include "Schedule.h"
#include "ScheduleFile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

LaunchEmitter::LaunchEmitter(ImplicitLocOpBuilder &b, Operation *module,
                             const AttentionShape &shape, ValueRange operands)
    : b(b), a{b}, module(module), shape(shape), operands(operands),
      arguments(operands, shape), period(KeyViews::periodOf(shape)),
      classes(KeyViews::classesOf(shape)) {
  auto dim = [&](Value of, int64_t i) -> Value {
    return memref::DimOp::create(b, of, i);
  };
  batches = dim(arguments.query, 0);
  heads = dim(arguments.query, 1);
  queries = dim(arguments.query, 2);
  group = a.div(heads, a.max(dim(arguments.key, 1), a.c(1)));
  rowsOfClass = a.ceilDiv(queries, a.c(period));
}

/// How many keys the last row of the first class sees, whatever its head, the
/// lengths, segments and offsets per batch, which are in the device's memory;
/// all, where rows have positions, as these are: where rows see fewer, or
/// others more, parts are more or fewer than they should be.
Value LaunchEmitter::keysOfLastRow() {
  Value all = memref::DimOp::create(b, arguments.key, 2);
  if (shape.hasQueryPositions || shape.hasKeyPositions)
    return all;
  KernelArguments known = arguments;
  known.lengths = known.segmentBounds = {};
  if (shape.offsetPerBatch)
    known.queryOffset = a.max(a.sub(all, queries), a.c(0));
  KeyViews views(b, module, shape, known);
  views.enter(a.c(0), a.c(0), a.c(0), queries);
  views.readKeyEnd(all);
  Value last = a.max(a.sub(views.rowsHere, a.c(1)), a.c(0));
  Value position = views.positionOf(views.rowAt(last));
  Value sum = a.c(0);
  for (unsigned i = 0; i < shape.pieces.size(); ++i) {
    auto [begin, end] = views.keysOf(i, position);
    sum = a.add(sum, a.max(a.sub(end, begin), a.c(0)));
  }
  return sum;
}

/// As many as the device runs at once, and no more than there are units.
Value LaunchEmitter::blocksAtOnce(nvx::ScheduleAttr schedule, Value units) {
  Value count = nvx::MultiprocessorsOp::create(b);
  return a.min(units, a.mul(count, a.c(schedule.getBlocks())));
}

void LaunchEmitter::launchByKeys(const Kernels &kernels) {
  Tiling tiling(shape, kernels.schedule);
  auto ofKey = [&](int64_t i) -> Value {
    return memref::DimOp::create(b, arguments.key, i);
  };
  Value blocks = a.ceilDiv(QueryViews::mostRowsOfClass(a, shape, ofKey(2)),
                           a.c(tiling.rows));
  blocks = a.mul(blocks, a.c(QueryViews::classesOf(shape)));
  launch(kernels, tiling, {blocks, ofKey(1), batches}, operands);
}

void LaunchEmitter::launch(const Kernels &kernels, const Tiling &tiling,
                           gpu::KernelDim3 grid, ValueRange all) {
  auto launch = gpu::LaunchFuncOp::create(
      b, kernels.attention, grid,
      gpu::KernelDim3{a.c(tiling.blockThreads()), a.c(1), a.c(1)},
      arith::ConstantIntOp::create(b, tiling.bytes(), 32), all);
  launch->setAttr(nvx::ScheduleAttr::name, kernels.schedule);
  if (!kernels.kind.empty())
    launch->setAttr(kClassAttr, b.getStringAttr(kernels.kind));
}

void LaunchEmitter::launch(const Kernels &kernels) {
  if (shape.result == KernelResult::KeyGradient)
    return launchByKeys(kernels);
  Tiling tiling(shape, kernels.schedule);
  Value blocks =
      a.mul(BlockRows::blocks(a, tiling, queries, period, group), a.c(classes));
  Value blockHeads = heads;
  if (tiling.grouped)
    blockHeads = a.div(heads, a.max(group, a.c(1)));
  SmallVector<Value> all = operands;
  Value inGrid = batches, count, out, statistics;
  if (tiling.split) {
    Value unsplit = a.mul(a.mul(blocks, blockHeads), batches);
    if (!keys)
      keys = keysOfLastRow();
    count = KeyParts::countOf(a, unsplit, tiling.split, keys,
                              Tiling::partKeys(tiling.rows));
    inGrid = a.mul(count, batches);
    // No part, no memory.
    Value rows = a.select(a.lt(a.c(1), count), inGrid, a.c(0));
    SmallVector<Value> sizes = {rows, heads, queries};
    auto memory = [&](MemRefType type) -> Value {
      return gpu::AllocOp::create(b, type, Type(), ValueRange(), sizes,
                                  ValueRange())
          .getMemref();
    };
    out = memory(KeyParts::outType(b.getContext(), shape.valueDim));
    statistics = memory(KeyParts::statisticsType(b.getContext()));
    all.append({count, out, statistics});
  }
  auto addMap = [&](Value memory, int64_t rows) {
    all.push_back(nvx::EncodeTensorMapOp::create(b, memory, rows));
  };
  if (tiling.barriers) {
    addMap(arguments.query, tiling.queryBoxRows());
    addMap(arguments.key, tiling.keyBoxRows);
    addMap(arguments.value, tiling.keyBoxRows);
  }
  gpu::KernelDim3 grid = {blocks, blockHeads, inGrid};
  if (tiling.producer) {
    Value units = a.mul(a.mul(blocks, blockHeads), inGrid);
    grid = {tiling.persistent ? blocksAtOnce(kernels.schedule, units) : units,
            a.c(1), a.c(1)};
  }
  launch(kernels, tiling, grid, all);
  if (!tiling.split)
    return;
  // Without a block where there is nothing to merge.
  Value rows =
      a.select(a.lt(a.c(1), count), a.mul(rowsOfClass, a.c(classes)), a.c(0));
  gpu::LaunchFuncOp::create(
      b, kernels.merge, gpu::KernelDim3{rows, heads, batches},
      gpu::KernelDim3{a.c(MergeLaunch::kThreads), a.c(1), a.c(1)},
      arith::ConstantIntOp::create(b, MergeLaunch::bytes(shape), 32),
      ValueRange{arguments.queryOffset, count, out, statistics, arguments.out,
                 arguments.lse});
  for (Value memory : {out, statistics})
    gpu::DeallocOp::create(b, Type(), ValueRange(), memory);
}

void LaunchEmitter::launch(ArrayRef<KernelsUpTo> choices) {
  const Kernels &kernels = choices.back().kernels;
  std::optional<int64_t> mostRows = choices.back().mostRows;
  if (!mostRows)
    return launch(kernels);
  if (llvm::any_of(
          choices,
          [](const KernelsUpTo &choice) { return choice.kernels.merge; }) &&
      !keys)
    keys = keysOfLastRow();
  auto by = [&](auto emit) {
    return [&, emit](OpBuilder &, Location) {
      emit();
      scf::YieldOp::create(b);
    };
  };
  scf::IfOp::create(b, a.le(rowsOfClass, a.c(*mostRows)),
                    by([&] { launch(kernels); }),
                    by([&] { launch(choices.drop_back()); }));
}
