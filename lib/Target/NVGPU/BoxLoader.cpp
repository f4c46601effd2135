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

static Value barrierAt(ImplicitLocOpBuilder &b, Value barriers, Value at) {
  Arith a{b};
  return pointerTo(b, barriers, a.mul(at, a.c(Tiling::kBarrierBytes)));
}

static Value i32(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIntOp::create(b, value, 32);
}

/// By one thread of the block's first warp, which is whole.
static void byOneThread(ImplicitLocOpBuilder &b, Value thread,
                        function_ref<void()> body) {
  Arith a{b};
  scf::IfOp::create(b, a.lt(thread, a.c(32)), [&](OpBuilder &, Location) {
    Value elected = NVVM::ElectSyncOp::create(b, b.getI1Type(), Value());
    scf::IfOp::create(b, elected, [&](OpBuilder &, Location) {
      body();
      scf::YieldOp::create(b);
    });
    scf::YieldOp::create(b);
  });
}

void BoxLoader::start(ImplicitLocOpBuilder &b, Value thread, Value barriers) {
  Arith a{b};
  byOneThread(b, thread, [&] {
    int64_t count = cast<MemRefType>(barriers.getType()).getDimSize(0);
    for (int64_t i = 0; i < count; ++i)
      NVVM::MBarrierInitOp::create(b, barrierAt(b, barriers, a.c(i)), i32(b, 1),
                                   /*predicate=*/Value());
    fenceProxy(b);
  });
  gpu::BarrierOp::create(b);
}

void BoxLoader::load(const RowSource &source, Value shared,
                     const TileLayout &layout, Value row, int64_t rows,
                     Value from, Value) {
  int64_t panels = layout.shape().front();
  int64_t bytes = panels * rows * TileLayout::panel * layout.elementBytes;
  NVVM::MBarrierExpectTxOp::create(b, barrierAt(b, barriers, open),
                                   i32(b, bytes));
  Row its = source.rowOf(from);
  for (int64_t panel = 0; panel < panels; ++panel)
    nvx::LoadBoxOp::create(b, source.map, its.batch, its.head, its.number,
                           a.c(panel * TileLayout::panel), shared, a.c(panel),
                           row, barriers, open);
}

void BoxLoader::group(Value number, function_ref<void()> loads) {
  byOneThread(b, thread, [&] {
    open = a.add(stageOf(number), a.c(first));
    loads();
    NVVM::MBarrierArriveOp::create(b, b.getI64Type(),
                                   barrierAt(b, barriers, open));
  });
}

void BoxLoader::wait(Value number, int64_t) {
  // How long a thread may sleep before it looks again.
  constexpr int64_t nanoseconds = 10'000'000;
  Value parity = a.select(a.lt(number, a.c(tiling.stages)), a.c(0), a.c(1));
  NVVM::MBarrierTryWaitParityOp::create(
      b, barrierAt(b, barriers, a.add(stageOf(number), a.c(first))),
      arith::IndexCastOp::create(b, b.getI32Type(), parity),
      i32(b, nanoseconds));
  gpu::BarrierOp::create(b);
}

/// Rows that the tensor has after `end` came with the others: weights of theirs
/// are zero, but who knows what they hold.
void BoxLoader::clear(Value shared, const TileLayout &layout, Value row,
                      int64_t rows, Value from, Value end) {
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
    gpu::BarrierOp::create(b);
    scf::YieldOp::create(b);
  });
}
