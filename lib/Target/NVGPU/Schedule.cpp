//===- Schedule.cpp - which schedule a kernel gets ------------------------===//

#include "Schedule.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;
using nvx::Product;
using nvx::ScheduleAttr;

std::optional<int64_t> mlir::megactx::nvgpu::sharedMemoryOf(StringRef arch) {
  // A suffix names features of that architecture alone.
  if (arch.ends_with("a") || arch.ends_with("f"))
    arch = arch.drop_back();
  int64_t kilobytes = llvm::StringSwitch<int64_t>(arch)
                          .Cases({"sm_80", "sm_87"}, 163)
                          .Cases({"sm_86", "sm_89", "sm_120", "sm_121"}, 99)
                          .Cases({"sm_90", "sm_100", "sm_103"}, 227)
                          .Default(0);
  if (!kilobytes)
    return std::nullopt;
  return kilobytes << 10;
}

static bool hasTest(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return bool(piece.test);
  });
}

ScheduleAttr mlir::megactx::nvgpu::chooseSchedule(MLIRContext *context,
                                                  int64_t sharedMemory,
                                                  const AttentionShape &shape,
                                                  std::optional<int64_t> rows) {
  bool isF32 = shape.element.isF32();
  bool isLarge = std::max(shape.headDim, shape.valueDim) > 128;
  int64_t columns = (isLarge ? 32 : 64) / (isF32 ? 2 : 1);
  int64_t heldDim = hasTest(shape) ? 64 : 128;
  int64_t warps = rows && *rows <= 16 ? 1 : rows && *rows <= 32 ? 2 : 4;
  auto make = [&](int64_t blocks) {
    return ScheduleAttr::get(context, 16 * warps, columns, warps, /*stages=*/2,
                             isF32 ? Product::fma : Product::mma_sync,
                             /*held=*/shape.headDim <= heldDim, blocks);
  };
  auto bytes = [&] { return Tiling(shape, make(1)).bytes(); };
  while (bytes() > sharedMemory && (columns > 16 || warps > 1))
    (columns > 16 ? columns : warps) /= 2;
  // Of a multiprocessor's, the system takes a part for each block.
  constexpr int64_t system = 1 << 10;
  return make(2 * (bytes() + system) <= sharedMemory + system ? 2 : 1);
}

LogicalResult mlir::megactx::nvgpu::verifySchedule(Operation *op,
                                                   StringRef arch,
                                                   int64_t sharedMemory,
                                                   const AttentionShape &shape,
                                                   ScheduleAttr schedule) {
  Product product = shape.element.isF32() ? Product::fma : Product::mma_sync;
  if (schedule.getProduct() != product)
    return op->emitOpError("expected a schedule with product = ")
           << stringifyProduct(product) << " for " << shape.element
           << ", but got " << schedule;
  if (schedule.getRows() != 16 * schedule.getWarps())
    return op->emitOpError("expected a schedule with 16 rows a warp, but got ")
           << schedule;
  // Results of tests are bits of one register.
  if (hasTest(shape) && schedule.getColumns() > 64)
    return op->emitOpError("expected a schedule with at most 64 columns for a "
                           "piece with a test per element, but got ")
           << schedule;
  int64_t bytes = Tiling(shape, schedule).bytes();
  if (bytes > sharedMemory)
    return op->emitOpError("expected at most ")
           << sharedMemory << " bytes of shared memory on " << arch << ", but "
           << schedule << " takes " << bytes;
  return success();
}
