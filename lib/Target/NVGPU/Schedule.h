//===- Schedule.h - which schedule a kernel gets ----------------*- C++ -*-===//
//
// Owns the rule from architecture, element type, head dims and rows to a
// schedule, and what a schedule must hold to for a kernel.
//
// The rule is told where users read it (Target/NVGPU/Passes.td), and why is in
// docs/performance.md. What it comes from, but for times on a device:
//
//   columns   with one warp, so that a multiprocessor holds many blocks, each
//             with keys on their way; half for f32, whose elements are twice as
//             large
//   grouped   blocks then read each key once for all heads of the group
//   warps     none is idle
//   held      registers hold no more; wgmma reads shared memory as fast, but
//             of few keys, as often as those
//   split     as many blocks as run at once; results of parts, written and read
//             in f32, are no more than an eighth of their keys and values in 16
//             bits
//   producer  keeps 40 registers a thread, or 56; the warps that compute have
//             the rest, 232 or 224 of two warpgroups
//
// Where rows are not known, a launch chooses among kernels at run time: that
// for a class of one row is for 16 and fewer; of several classes, that for 32
// rows is for 17 to 32.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_SCHEDULE_H
#define MEGACTX_LIB_TARGET_NVGPU_SCHEDULE_H

#include "Tiling.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Target/NVGPU/Architecture.h"

namespace mlir::megactx::nvgpu {

/// Up to so many rows of a class are few: blocks of a warp read the keys no
/// more often for all heads of a group than larger blocks do for one each.
constexpr int64_t kFewRows = 16;

/// Up to so many rows of a class have blocks of two warps: none is idle, and a
/// multiprocessor holds more classes at a time.
constexpr int64_t kShortRows = 32;

/// What is known of a launch when its kernel is chosen.
struct LaunchSize {
  std::optional<int64_t> rows;  ///< of a class of the view, of one head
  std::optional<int64_t> group; ///< query heads that share a key head
  std::optional<int64_t> heads; ///< batches x query heads x classes
};

/// The rule's choice.
nvx::ScheduleAttr chooseSchedule(MLIRContext *context, const Machine &machine,
                                 const AttentionShape &shape,
                                 const LaunchSize &known);

/// An error of the operation where kernels of the shape cannot have it.
LogicalResult verifySchedule(Operation *op, const Machine &machine,
                             const AttentionShape &shape,
                             nvx::ScheduleAttr schedule);

} // namespace mlir::megactx::nvgpu

#endif
