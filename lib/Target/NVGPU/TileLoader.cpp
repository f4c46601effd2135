//===- TileLoader.cpp - rows of memory into tiles -------------------------===//

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

/// The first row's address is computed once; the others follow at constant
/// distances.
static Value rowsFrom(ImplicitLocOpBuilder &b, const RowSource &source,
                      Value row, Value column, int64_t rows, int64_t columns) {
  OpFoldResult one = b.getIndexAttr(1);
  SmallVector<OpFoldResult> offsets = {source.batch, source.head, row, column};
  SmallVector<OpFoldResult> sizes = {one, one, b.getIndexAttr(rows),
                                     b.getIndexAttr(columns)};
  SmallVector<OpFoldResult> strides = {one, one, b.getIndexAttr(*source.step),
                                       one};
  auto type = memref::SubViewOp::inferRankReducedResultType(
      {rows, columns}, cast<MemRefType>(source.memory.getType()), offsets,
      sizes, strides);
  return memref::SubViewOp::create(b, type, source.memory, offsets, sizes,
                                   strides);
}

void TileLoader::load(const RowSource &source, Value shared,
                      const TileLayout &layout, Value row, int64_t rows,
                      Value from, Value end) {
  int64_t chunk = tiling.chunk();
  int64_t chunks = llvm::alignTo(source.columns, 16) / chunk;
  int64_t total = rows * chunks;
  Value left = arith::IndexCastOp::create(b, b.getI32Type(),
                                          a.min(a.sub(end, from), a.c(rows)));
  // Each thread keeps its columns where a turn of the threads is whole rows.
  bool wholeRows = tiling.threads % chunks == 0;
  Value firstRow = a.div(thread, a.c(chunks));
  Value firstColumn = a.mul(a.rem(thread, a.c(chunks)), a.c(chunk));
  Value first;
  if (wholeRows && source.step && chunks * chunk == source.columns)
    first = rowsFrom(b, source, source.rowOf(a.add(from, firstRow)),
                     firstColumn, rows, chunk);
  auto one = [&](int64_t begin) {
    Value inTile = a.add(firstRow, a.c(begin / chunks)), column = firstColumn;
    if (!wholeRows) {
      Value number = a.add(thread, a.c(begin));
      inTile = a.div(number, a.c(chunks));
      column = a.mul(a.rem(number, a.c(chunks)), a.c(chunk));
    }
    Value exists = arith::CmpIOp::create(
        b, arith::CmpIPredicate::slt,
        arith::IndexCastOp::create(b, b.getI32Type(), inTile), left);
    Value memory = first;
    SmallVector<Value> at = {a.c(begin / chunks), a.c(0)};
    if (!first) {
      Value inside = a.lt(column, a.c(source.columns));
      exists = a.both(exists, inside);
      memory = source.memory;
      at = {source.batch, source.head, source.rowOf(a.add(from, inTile)),
            a.select(inside, column, a.c(0))};
    }
    auto token = mlir::nvgpu::DeviceAsyncTokenType::get(b.getContext());
    mlir::nvgpu::DeviceAsyncCopyOp::create(
        b, token, shared, layout.place(a, a.add(row, inTile), column), memory,
        at, b.getIndexAttr(chunk), a.select(exists, a.c(chunk), a.c(0)),
        b.getUnitAttr());
  };
  for (int64_t begin = 0; begin < total; begin += tiling.threads) {
    if (begin + tiling.threads <= total) {
      one(begin);
      continue;
    }
    Value takesPart = a.lt(thread, a.c(total - begin));
    scf::IfOp::create(b, takesPart, [&](OpBuilder &, Location) {
      one(begin);
      scf::YieldOp::create(b);
    });
  }
}

void TileLoader::commit() {
  mlir::nvgpu::DeviceAsyncCreateGroupOp::create(
      b, mlir::nvgpu::DeviceAsyncTokenType::get(b.getContext()), ValueRange());
}

void TileLoader::wait(int64_t left) {
  auto token = mlir::nvgpu::DeviceAsyncTokenType::get(b.getContext());
  // The op names a group and counts groups: the token says nothing.
  Value group =
      mlir::nvgpu::DeviceAsyncCreateGroupOp::create(b, token, ValueRange());
  mlir::nvgpu::DeviceAsyncWaitOp::create(b, group, b.getI32IntegerAttr(left));
  // wgmma reads through another proxy than the one that copies write through.
  if (tiling.product == nvx::Product::wgmma)
    NVVM::FenceProxyOp::create(
        b,
        NVVM::ProxyKindAttr::get(b.getContext(), NVVM::ProxyKind::async_shared),
        NVVM::SharedSpaceAttr::get(b.getContext(),
                                   NVVM::SharedSpace::shared_cta));
  gpu::BarrierOp::create(b);
}
