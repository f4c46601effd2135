//===- Schedule.h - which schedule a kernel gets ----------------*- C++ -*-===//
//
// Owns the rule from architecture, element type, head dims and rows to a
// schedule, what a schedule must hold to for a kernel, and where its tiles are
// in shared memory.
//
// The rule:
//   product   mma_sync for f16 and bf16, fma for f32
//   columns   64 where both head dims are at most 128, else 32; half of it for
//             f32, whose elements are twice as large
//   warps     4, and rows = 16 warps; 2 or 1 where a class of the view is known
//             to have no more than 32 or 16 rows, so that no warp is idle
//   stages    2
//   held      where the head dim is at most 128, or 64 with a test per element:
//             registers hold no more
//   blocks    2 where both fit in shared memory, else 1
// Where a block does not fit in the architecture's shared memory, columns are
// halved down to 16, then warps down to 1, until it does.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_SCHEDULE_H
#define MEGACTX_LIB_TARGET_NVGPU_SCHEDULE_H

#include "../Common/AttentionShape.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Target/NVGPU/Architecture.h"

namespace mlir::megactx::nvgpu {

/// The rule's choice. `rows`: of a class, where known.
nvx::ScheduleAttr chooseSchedule(MLIRContext *context, int64_t sharedMemory,
                                 const AttentionShape &shape,
                                 std::optional<int64_t> rows);

/// An error of the operation where kernels of the shape cannot have it.
LogicalResult verifySchedule(Operation *op, StringRef arch,
                             int64_t sharedMemory, const AttentionShape &shape,
                             nvx::ScheduleAttr schedule);

/// Tile sizes and places in shared memory, in elements and bytes.
struct Tiling {
  Tiling(const AttentionShape &shape, nvx::ScheduleAttr schedule)
      : elementBytes(shape.element.getIntOrFloatBitWidth() / 8),
        paddedHead(llvm::alignTo(shape.headDim, 16)),
        paddedValue(llvm::alignTo(shape.valueDim, 16)),
        rows(schedule.getRows()), keys(schedule.getColumns()),
        threads(32 * schedule.getWarps()), stages(schedule.getStages()),
        queriesInRegisters(schedule.getHeld()) {}
  int64_t elementBytes, paddedHead, paddedValue, rows, keys, threads, stages;
  bool queriesInRegisters;
  /// Elements of a copy of 16 bytes.
  int64_t chunk() const { return 16 / elementBytes; }
  int64_t keyPitch() const { return paddedHead + chunk(); }
  int64_t valuePitch() const { return paddedValue + chunk(); }
  int64_t queryBytes() const { return rows * keyPitch() * elementBytes; }
  int64_t keyBytes() const { return stages * keys * keyPitch() * elementBytes; }
  int64_t valueBytes() const {
    return stages * keys * valuePitch() * elementBytes;
  }
  int64_t bytes() const { return queryBytes() + keyBytes() + valueBytes(); }
};

} // namespace mlir::megactx::nvgpu

#endif
