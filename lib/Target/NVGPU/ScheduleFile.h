//===- ScheduleFile.h - schedules that were measured ------------*- C++ -*-===//
//
// Owns the file that megactx-tune-schedule writes: schedules by architecture
// and class of attention kernels. docs/gpu.md describes it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_SCHEDULEFILE_H
#define MEGACTX_LIB_TARGET_NVGPU_SCHEDULEFILE_H

#include "../Common/AttentionShape.h"
#include "megactx/Dialect/NVX/IR/NVX.h"

namespace mlir::megactx::nvgpu {

/// What kernels that one measured schedule is for have in common, words apart
/// by a space. `rows`: of a class of the view, where known.
///
///   bf16 64x32  element type, head dim, value dim where it is another
///   long        in one view, a piece whose rows see keys from the first on;
///   band        in one view, bounded below; views: several classes of rows
///   test        a piece has a test per element
///   bias        a bias, bias-per-key where all queries have the same
///   softcap
///   rows<=32    16, 32 or 64, where there are known to be no more
std::string scheduleClass(const AttentionShape &shape,
                          std::optional<int64_t> rows);

/// The attribute of a text, null where it is none; `why` then says what it is
/// not, for an error of the file or option that has the text.
nvx::ScheduleAttr parseSchedule(MLIRContext *context, StringRef text,
                                std::string &why);

/// Of launches: their kernels' class.
constexpr StringLiteral kClassAttr = "megactx.schedule_class";

using ScheduleTable = llvm::StringMap<nvx::ScheduleAttr>;

/// The schedules of an architecture by class; none where the file has none for
/// it. Where it is no such file, `error` says so and why.
std::optional<ScheduleTable> readSchedules(MLIRContext *context, StringRef path,
                                           StringRef arch, std::string &error);

} // namespace mlir::megactx::nvgpu

#endif
