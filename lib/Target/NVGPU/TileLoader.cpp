//===- TileLoader.cpp - rows of memory into tiles by cp.async -------------===//

#include "TileLoader.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

void mlir::megactx::nvgpu::fenceProxy(ImplicitLocOpBuilder &b) {
  NVVM::FenceProxyOp::create(
      b,
      NVVM::ProxyKindAttr::get(b.getContext(), NVVM::ProxyKind::async_shared),
      NVVM::SharedSpaceAttr::get(b.getContext(),
                                 NVVM::SharedSpace::shared_cta));
}

void mlir::megactx::nvgpu::syncComputing(ImplicitLocOpBuilder &b,
                                         const Tiling &tiling) {
  if (!tiling.producer) {
    gpu::BarrierOp::create(b);
    return;
  }
  // Number 0 is that of all threads of the block.
  Value number = arith::ConstantIntOp::create(b, 1, 32);
  Value threads = arith::ConstantIntOp::create(b, tiling.threads, 32);
  NVVM::BarrierOp::create(b, TypeRange(), number, threads,
                          NVVM::BarrierReductionAttr(), Value());
}

/// Of the number's type.
static Value constant(ImplicitLocOpBuilder &b, Value number, int64_t value) {
  return arith::ConstantOp::create(b,
                                   b.getIntegerAttr(number.getType(), value));
}

static Value isBelow(ImplicitLocOpBuilder &b, Value number, int64_t value) {
  return Arith{b}.lt(number, constant(b, number, value));
}

Value StageNumbers::later(Value number, int64_t turns) const {
  Arith a{b};
  int64_t step = llvm::mod(turns, ring);
  if (!step)
    return number;
  auto c = [&](int64_t value) { return constant(b, number, value); };
  if (2 * step == ring && llvm::isPowerOf2_64(ring))
    return a.bitXor(number, c(step));
  Value next = a.add(number, c(step));
  if (llvm::isPowerOf2_64(ring))
    return a.rem(next, c(ring));
  return a.select(a.lt(next, c(ring)), next, a.sub(next, c(ring)));
}

Value StageNumbers::stageOf(Value number) const {
  Arith a{b};
  auto c = [&](int64_t value) { return constant(b, number, value); };
  Value stage = number;
  if (ring != stages && llvm::isPowerOf2_64(stages))
    stage = a.rem(number, c(stages));
  else if (ring != stages)
    stage =
        a.select(isBelow(b, number, stages), number, a.sub(number, c(stages)));
  if (stage.getType().isIndex())
    return stage;
  return arith::IndexCastUIOp::create(b, b.getIndexType(), stage);
}

Value StageNumbers::parityOf(Value number) const {
  Value zero = arith::ConstantIntOp::create(b, 0, 32);
  Value one = arith::ConstantIntOp::create(b, 1, 32);
  return Arith{b}.select(isBelow(b, number, stages), zero, one);
}

/// The rows of a thread: the first one's address is computed once, and the
/// others follow at a constant distance, `step` rows in memory.
static Value rowsFrom(ImplicitLocOpBuilder &b, const RowSource &source,
                      const Row &row, Value column, int64_t rows, int64_t step,
                      int64_t columns) {
  OpFoldResult one = b.getIndexAttr(1);
  SmallVector<OpFoldResult> offsets = {row.batch, row.head, row.number, column};
  SmallVector<OpFoldResult> sizes = {one, one, b.getIndexAttr(rows),
                                     b.getIndexAttr(columns)};
  SmallVector<OpFoldResult> strides = {one, one, b.getIndexAttr(step), one};
  auto type = memref::SubViewOp::inferRankReducedResultType(
      {rows, columns}, cast<MemRefType>(source.memory.getType()), offsets,
      sizes, strides);
  return memref::SubViewOp::create(b, type, source.memory, offsets, sizes,
                                   strides);
}

/// As many lanes share a row as divide both the row and the block's threads, a
/// power of two, and each takes its columns in turn: there is no division but
/// shifts. (Of a quotient by multiplication, mul.hi.u32, ptxas 12.9 to 13.4
/// subtracts a 64-bit number whose lower half is 0 wrongly by 2^32.)
void CopyLoader::load(const RowSource &source, Value shared,
                      const TileLayout &layout, Value row, int64_t rows,
                      Value from, Value end) {
  int64_t chunk = tiling.chunk();
  int64_t columns = llvm::alignTo(source.columns, 16);
  int64_t lanes =
      1 << llvm::countr_zero(uint64_t(columns / chunk | tiling.threads));
  int64_t turn = tiling.threads / lanes, wide = lanes * chunk;
  Value left = arith::IndexCastOp::create(b, b.getI32Type(),
                                          a.min(a.sub(end, from), a.c(rows)));
  Value laneRow = a.div(thread, a.c(lanes));
  Value laneColumn = a.mul(a.rem(thread, a.c(lanes)), a.c(chunk));
  Value first;
  std::optional<int64_t> step = source.step(turn);
  if (step && columns == source.columns)
    first =
        rowsFrom(b, source, source.rowOf(a.add(from, laneRow)), laneColumn,
                 llvm::divideCeil(rows, turn), *step, columns - wide + chunk);
  auto copy = [&](int64_t rowBegin, Value inTile, Value exists, int64_t begin) {
    Value column = a.add(laneColumn, a.c(begin)), memory = first;
    SmallVector<Value> at = {a.c(rowBegin / turn), a.c(begin)};
    if (!first) {
      Value inside = a.lt(column, a.c(source.columns));
      exists = a.both(exists, inside);
      memory = source.memory;
      Row its = source.rowOf(a.add(from, inTile));
      at = {its.batch, its.head, its.number, a.select(inside, column, a.c(0))};
    }
    auto token = mlir::nvgpu::DeviceAsyncTokenType::get(b.getContext());
    mlir::nvgpu::DeviceAsyncCopyOp::create(
        b, token, shared, layout.place(a, a.add(row, inTile), column), memory,
        at, b.getIndexAttr(chunk), a.select(exists, a.c(chunk), a.c(0)),
        b.getUnitAttr());
  };
  auto copyRow = [&](int64_t rowBegin) {
    Value inTile = a.add(laneRow, a.c(rowBegin));
    Value exists = arith::CmpIOp::create(
        b, arith::CmpIPredicate::slt,
        arith::IndexCastOp::create(b, b.getI32Type(), inTile), left);
    for (int64_t begin = 0; begin < columns; begin += wide)
      copy(rowBegin, inTile, exists, begin);
  };
  for (int64_t begin = 0; begin < rows; begin += turn) {
    if (begin + turn <= rows) {
      copyRow(begin);
      continue;
    }
    Value takesPart = a.lt(laneRow, a.c(rows - begin));
    scf::IfOp::create(b, takesPart, [&](OpBuilder &, Location) {
      copyRow(begin);
      scf::YieldOp::create(b);
    });
  }
}

void CopyLoader::group(Value, function_ref<void()> loads) {
  if (isOpen)
    mlir::nvgpu::DeviceAsyncCreateGroupOp::create(
        b, mlir::nvgpu::DeviceAsyncTokenType::get(b.getContext()),
        ValueRange());
  loads();
  isOpen = true;
}

void CopyLoader::wait(Value, int64_t left) {
  auto token = mlir::nvgpu::DeviceAsyncTokenType::get(b.getContext());
  // The op names a group and counts groups: the token says nothing.
  Value group =
      mlir::nvgpu::DeviceAsyncCreateGroupOp::create(b, token, ValueRange());
  mlir::nvgpu::DeviceAsyncWaitOp::create(b, group, b.getI32IntegerAttr(left));
  // wgmma reads through another proxy than the one that copies write through.
  if (tiling.product == nvx::Product::wgmma)
    fenceProxy(b);
  gpu::BarrierOp::create(b);
  isOpen = false;
}
