//===- BoxLoader.cpp - boxes of tensor maps into tiles --------------------===//

#include "TileLoader.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

/// The address of a byte of shared memory.
static Value pointerTo(ImplicitLocOpBuilder &b, Value memory, Value byte) {
  Value begin = memref::ExtractAlignedPointerAsIndexOp::create(b, memory);
  Value address =
      arith::IndexCastOp::create(b, b.getI64Type(), Arith{b}.add(begin, byte));
  auto shared = static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared);
  return LLVM::IntToPtrOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext(), shared), address);
}

static Value i32(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIntOp::create(b, value, 32);
}

Value BlockBarriers::operator[](Value at) const {
  Arith a{b};
  return pointerTo(b, memory, a.mul(at, a.c(Tiling::kBarrierBytes)));
}

void BlockBarriers::start(Value thread, ArrayRef<int64_t> arrivals) const {
  byOneThread(b, thread, 0, [&] {
    for (auto [i, count] : llvm::enumerate(arrivals))
      NVVM::MBarrierInitOp::create(b, (*this)[Arith{b}.c(i)], i32(b, count),
                                   /*predicate=*/Value());
    fenceProxy(b);
  });
  gpu::BarrierOp::create(b);
}

void BlockBarriers::wait(Value at, Value parity) const {
  // How long a thread may sleep before it looks again.
  constexpr int64_t nanoseconds = 10'000'000;
  NVVM::MBarrierTryWaitParityOp::create(b, (*this)[at], parity,
                                        i32(b, nanoseconds));
}

void BlockBarriers::arrive(Value at) const {
  NVVM::MBarrierArriveOp::create(b, b.getI64Type(), (*this)[at]);
}

/// The warp is whole when it comes here.
void mlir::megactx::nvgpu::byOneThread(ImplicitLocOpBuilder &b, Value thread,
                                       int64_t first,
                                       function_ref<void()> body) {
  Arith a{b};
  Value isOfWarp = a.lt(thread, a.c(first + 32));
  if (first)
    isOfWarp = a.both(a.le(a.c(first), thread), isOfWarp);
  scf::IfOp::create(b, isOfWarp, [&](OpBuilder &, Location) {
    Value elected = NVVM::ElectSyncOp::create(b, b.getI1Type(), Value());
    scf::IfOp::create(b, elected, [&](OpBuilder &, Location) {
      body();
      scf::YieldOp::create(b);
    });
    scf::YieldOp::create(b);
  });
}

void mlir::megactx::nvgpu::loadBoxes(const BlockBarriers &barriers, Value open,
                                     const RowSource &source, Value shared,
                                     const TileLayout &layout, Value row,
                                     int64_t rows, Value from) {
  ImplicitLocOpBuilder &b = barriers.b;
  Arith a{b};
  int64_t panels = layout.shape().front();
  int64_t bytes = panels * rows * TileLayout::panel * layout.elementBytes;
  NVVM::MBarrierExpectTxOp::create(b, barriers[open], i32(b, bytes));
  std::optional<int64_t> step = source.step(source.boxRows);
  Row first = source.rowOf(from);
  for (int64_t begin = 0; begin < rows; begin += source.boxRows) {
    Row its = first;
    if (begin && step)
      its.number = a.add(first.number, a.c(begin / source.boxRows * *step));
    else if (begin)
      its = source.rowOf(a.add(from, a.c(begin)));
    for (int64_t panel = 0; panel < panels; ++panel)
      nvx::LoadBoxOp::create(b, source.map, its.batch, its.head, its.number,
                             a.c(panel * TileLayout::panel), shared, a.c(panel),
                             begin ? a.add(row, a.c(begin)) : row,
                             barriers.memory, open);
  }
}

void mlir::megactx::nvgpu::clearRows(ImplicitLocOpBuilder &b,
                                     const Tiling &tiling, Value thread,
                                     Value shared, const TileLayout &layout,
                                     Value row, int64_t rows, Value from,
                                     Value end) {
  Arith a{b};
  Value left = a.sub(end, from);
  scf::IfOp::create(b, a.lt(left, a.c(rows)), [&](OpBuilder &, Location) {
    int64_t lanes = TileLayout::panel / tiling.chunk();
    // convert-vector-to-llvm knows no address spaces of memrefs.
    auto type = VectorType::get({4}, b.getI32Type());
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
    Value inRow = a.mul(a.rem(thread, a.c(lanes)), a.c(16));
    emitFor(b, a.add(left, a.div(thread, a.c(lanes))), a.c(rows),
            tiling.threads / lanes, [&](Value at) {
              for (int64_t panel = 0; panel < layout.shape().front(); ++panel) {
                Value inPanel = a.add(a.add(row, at), a.c(panel * layout.rows));
                Value byte = a.add(a.mul(inPanel, a.c(16 * lanes)), inRow);
                LLVM::StoreOp::create(b, zero, pointerTo(b, shared, byte),
                                      /*alignment=*/16);
              }
            });
    fenceProxy(b);
    syncComputing(b, tiling);
    scf::YieldOp::create(b);
  });
}

void BoxLoader::load(const RowSource &source, Value shared,
                     const TileLayout &layout, Value row, int64_t rows,
                     Value from, Value) {
  loadBoxes(barriers, open, source, shared, layout, row, rows, from);
}

void BoxLoader::group(Value number, function_ref<void()> loads) {
  byOneThread(b, thread, 0, [&] {
    open = a.add(numbers().stageOf(number), a.c(first));
    loads();
    barriers.arrive(open);
  });
}

void BoxLoader::wait(Value number, int64_t) {
  Value parity = numbers().parityOf(number);
  barriers.wait(a.add(numbers().stageOf(number), a.c(first)), parity);
  gpu::BarrierOp::create(b);
}

void BoxLoader::clear(Value shared, const TileLayout &layout, Value row,
                      int64_t rows, Value from, Value end) {
  clearRows(b, tiling, thread, shared, layout, row, rows, from, end);
}
