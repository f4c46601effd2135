//===- BlockRows.cpp - which rows and keys a block has --------------------===//

#include "BlockRows.h"
#include "RowReach.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

SmallVector<Type> PartArguments::types(MLIRContext *context,
                                       const AttentionShape &shape) {
  return {IndexType::get(context), KeyParts::outType(context, shape.valueDim),
          KeyParts::statisticsType(context)};
}

BlockPlace BlockPlace::ofGrid(ImplicitLocOpBuilder &b) {
  Value number = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  Value head = gpu::BlockIdOp::create(b, gpu::Dimension::y);
  Value slot = gpu::BlockIdOp::create(b, gpu::Dimension::z);
  return {number, head, slot};
}

/// Of one class and one head, as verifySchedule demands.
static Value blocksOf(ImplicitLocOpBuilder &b, const Tiling &tiling,
                      const KernelArguments &arguments) {
  Value queries = memref::DimOp::create(b, arguments.query, 2);
  return BlockRows::blocks(Arith{b}, tiling, queries, /*period=*/1, Value());
}

static Value slotsOf(ImplicitLocOpBuilder &b, const KernelArguments &arguments,
                     const PartArguments &parts) {
  Value batches = memref::DimOp::create(b, arguments.query, 0);
  return parts.count ? Arith{b}.mul(batches, parts.count) : batches;
}

BlockPlace BlockPlace::ofUnit(ImplicitLocOpBuilder &b,
                              const AttentionShape &shape, const Tiling &tiling,
                              const KernelArguments &arguments,
                              const PartArguments &parts, Value unit) {
  Arith a{b};
  Value heads = memref::DimOp::create(b, arguments.query, 1), number, slot,
        head, rest;
  if (hasGrowingRows(shape)) {
    Value slots = slotsOf(b, arguments, parts);
    std::tie(number, rest) = a.divRem32(unit, a.mul(heads, slots));
  } else {
    std::tie(rest, number) = a.divRem32(unit, blocksOf(b, tiling, arguments));
  }
  std::tie(slot, head) = a.divRem32(rest, heads);
  return {number, head, slot};
}

Value BlockPlace::units(ImplicitLocOpBuilder &b, const Tiling &tiling,
                        const KernelArguments &arguments,
                        const PartArguments &parts) {
  Arith a{b};
  Value heads = memref::DimOp::create(b, arguments.query, 1);
  return a.mul(blocksOf(b, tiling, arguments),
               a.mul(heads, slotsOf(b, arguments, parts)));
}

/// The part and the batch of a slot. Most launches of many rows have one part:
/// the division, which would hold up their first loads, is for the others.
static std::pair<Value, Value> partOf(ImplicitLocOpBuilder &b,
                                      const Tiling &tiling, Value parts,
                                      Value slot, Value batches) {
  Arith a{b};
  if (tiling.rows < Tiling::kWarpgroupRows)
    return a.divRem32(slot, batches);
  auto place = scf::IfOp::create(
      b, a.lt(a.c(1), parts),
      [&](OpBuilder &, Location) {
        auto [part, batch] = a.divRem32(slot, batches);
        scf::YieldOp::create(b, ValueRange{part, batch});
      },
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, ValueRange{a.c(0), slot});
      });
  return {place.getResult(0), place.getResult(1)};
}

BlockRows::BlockRows(ImplicitLocOpBuilder &b, const Tiling &tiling,
                     KeyViews &views, const KernelArguments &arguments,
                     const PartArguments &partArguments,
                     const BlockPlace &place)
    : batch(place.slot), a{b}, tiling(tiling), views(views), slot(place.slot),
      head(place.head) {
  Value number = place.number;
  auto dim = [&](Value of, int64_t i) -> Value {
    return memref::DimOp::create(b, of, i);
  };
  if (partArguments.count) {
    parts.count = partArguments.count;
    std::tie(parts.number, batch) =
        partOf(b, tiling, parts.count, slot, dim(arguments.query, 0));
  }
  Value queries = dim(arguments.query, 2);
  Value heads = dim(arguments.query, 1), keyHeads = dim(arguments.key, 1);
  if (tiling.grouped) {
    group = a.div(heads, keyHeads);
    keyHead = head;
    head = a.mul(keyHead, group);
  } else {
    keyHead = a.divRem32(a.mul(head, keyHeads), heads).first;
  }
  // Blocks of one class follow each other, and find each other's keys in the
  // cache. Late rows see most keys: the longest go first.
  Value all = blocks(a, tiling, queries, views.period(), group);
  Value viewClass = a.c(0), inClass = number;
  if (views.classes() > 1)
    std::tie(viewClass, inClass) = a.divRem32(number, all);
  Value late = a.sub(a.sub(all, a.c(1)), inClass);
  begin = a.mul(late, a.c(tiling.rows));
  views.enter(batch, head, viewClass, queries);
  count = tiling.grouped ? a.mul(views.rowsHere, group) : views.rowsHere;
}

Value BlockRows::blocks(const Arith &a, const Tiling &tiling, Value queries,
                        int64_t period, Value group) {
  Value rows = a.ceilDiv(queries, a.c(period));
  if (tiling.grouped)
    rows = a.mul(rows, group);
  return a.ceilDiv(rows, a.c(tiling.rows));
}

Row BlockRows::at(Value number) const {
  if (!tiling.grouped)
    return {batch, head, views.rowAt(number)};
  auto [row, inGroup] = a.divRem32(number, group);
  return {batch, a.add(head, inGroup), views.rowAt(row)};
}

Value BlockRows::positionOf(Value number) const {
  return views.positionOf(at(number).number);
}

std::optional<int64_t> BlockRows::step(int64_t numbers) const {
  if (tiling.grouped)
    return std::nullopt;
  return numbers * views.period();
}
