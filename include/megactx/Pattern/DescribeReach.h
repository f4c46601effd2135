//===- DescribeReach.h - reach and misalignment as JSON ---------*- C++ -*-===//

#ifndef MEGACTX_PATTERN_DESCRIBEREACH_H
#define MEGACTX_PATTERN_DESCRIBEREACH_H

#include "megactx/Pattern/Alignment.h"
#include "megactx/Pattern/Connectivity.h"
#include "llvm/Support/JSON.h"

namespace mlir::megactx::pattern {

/// {checked_at, goal, layers, reached, hops, never_reached, components}.
llvm::json::Object describeReach(const Reach &reach);

/// [{pattern, period, gist, common_divisor, crossed_at_multiples_of,
/// but_not_of, nearest_aligned}].
llvm::json::Array
describeMisalignments(llvm::ArrayRef<Misalignment> misalignments);

/// `0 to 62 every 2`, `3 to 9`, `5`.
std::string describeInWords(const Span &span);

} // namespace mlir::megactx::pattern

#endif
