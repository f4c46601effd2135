//===- SharedMemory.cpp - what a block has in shared memory ---------------===//

#include "SharedMemory.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

SharedMemory::SharedMemory(ImplicitLocOpBuilder &b, const Tiling &tiling,
                           Type element)
    : b(b), element(element) {
  auto space =
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  memory = nvx::SharedMemoryOp::create(
      b, MemRefType::get({tiling.bytes()}, b.getI8Type(), AffineMap(), space));
}

Value SharedMemory::view(ArrayRef<int64_t> shape, Type type, int64_t bytes) {
  auto memref =
      MemRefType::get(shape, type, AffineMap(),
                      cast<MemRefType>(memory.getType()).getMemorySpace());
  Value begin = Arith{b}.c(at);
  at += bytes;
  return memref::ViewOp::create(b, memref, memory, begin, ValueRange());
}

Value SharedMemory::tile(const TileLayout &layout) {
  return layout.rows ? view(layout.shape(), element, layout.bytes()) : Value();
}

Value SharedMemory::words(int64_t count, Type type) {
  return count ? view(count, type, count * type.getIntOrFloatBitWidth() / 8)
               : Value();
}
